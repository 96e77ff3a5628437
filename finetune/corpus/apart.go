package corpus

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/internal/count"
)

// texts encodes texts of which vectors are made, with what stands before a query, and before a document. Of two texts
// with a score neither is a document.
func (r *Reader) texts(x *data.Example) ([]encode.Item, error) {
	switch {
	case r.how.Negatives && len(x.Texts) < 3:
		return nil, fmt.Errorf("%s: the example has no negative, and --method %s needs one; add a field \"negative\", "+
			"or train with --method mnrl, which takes other examples' texts", x.Source, r.how.Name)
	case x.Kind == data.KindLikeness && r.how.Scores.Holds != nil && !r.how.Scores.Holds(x.Score):
		return nil, fmt.Errorf("%s: the score is %g, and --method %s expects %s; write such scores, or train with "+
			"--method cosent, which reads their order alone", x.Source, x.Score, r.how.Name, r.how.Scores.Expected)
	}
	tokens, long := make([][]int32, len(x.Texts)), 0
	var other [][]int32
	for i, t := range x.Texts {
		prefix := r.cfg.QueryPrefix
		if i > 0 && x.Kind == data.KindGroup {
			prefix = r.cfg.DocumentPrefix
		}
		var n int
		var err error
		if tokens[i], n, err = r.text.wholes.Encode(prefix, t, r.limit.Window()); err != nil {
			return nil, fmt.Errorf("%s: %w", x.Source, err)
		}
		long = max(long, n)
		if r.other != nil {
			t, err := r.other.Tokens(x.Source.String(), prefix, t)
			if err != nil {
				return nil, err
			}
			other = append(other, t)
		}
	}
	it := encode.Apart(x.Source, tokens...)
	it.Label, it.Long, it.Other, it.Margins = x.Score, long, other, x.Margins
	return []encode.Item{it}, nil
}

// views encodes a text twice, with what stands before a document.
func (r *Reader) views(x *data.Example, format string) ([]encode.Item, error) {
	if err := needText(x, format); err != nil {
		return nil, err
	}
	tokens, long, err := r.text.wholes.Encode(r.cfg.DocumentPrefix, x.Text, r.limit.Window())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", x.Source, err)
	}
	it := encode.Apart(x.Source, tokens, tokens)
	it.Long = long
	return []encode.Item{it}, nil
}

// needOthers refuses to compare a single example with others.
func (r *Reader) needOthers(d *encode.Dataset) error {
	if !r.how.Need.Pools() || !r.how.Coupled {
		return nil
	}
	if len(d.Items) < 2 {
		cure := "give more"
		if r.how.Need == method.Views {
			cure += "; of a plain text file each line is one with --text-split line"
		}
		return fmt.Errorf("%s: there is one example, and --method %s sets each beside others; %s",
			d.Items[0].Source, r.how.Name, cure)
	}
	if r.cfg.StepExamples < 2 {
		return &config.Error{Err: errors.New("--step-examples is 1, and --method " + r.how.Name +
			" sets each example beside others of its step; give at least 2")}
	}
	if r.how.Need != method.Likenesses {
		return r.needDifferent(d)
	}
	first := d.Items[0].Label
	for i := range d.Items {
		if d.Items[i].Label != first {
			return nil
		}
	}
	return fmt.Errorf("%s: every score (%s) is %g, and --method %s learns from their order; give texts of several "+
		"scores", d.Items[0].Source, count.Of(len(d.Items), "example"), first, r.how.Name)
}

// needDifferent refuses groups, or views, of which no anchor has a text to choose its own from.
func (r *Reader) needDifferent(d *encode.Dataset) error {
	same := [2]bool{true, true} // the anchors, the positives
	first := &d.Items[0]
	for i := range d.Items {
		it := &d.Items[i]
		if len(it.Segments) > 2 {
			return nil // it has a negative
		}
		for k := range same {
			same[k] = same[k] && slices.Equal(it.Segment(k), first.Segment(k))
		}
	}
	whats, cure := []string{"anchor", "positive"}, "give other texts, or negatives"
	if r.how.Need == method.Views {
		whats, cure = []string{"text"}, "give other texts"
	}
	for k, what := range whats {
		if same[k] {
			return fmt.Errorf("%s: every %s (%s) is the same text, cut to %d tokens as it is read: no other "+
				"belongs to something else, and there is nothing to choose among; %s", first.Source, what,
				count.Of(len(d.Items), "example"), r.limit.Window(), cure)
		}
	}
	return nil
}

// widest is the most tokens that an example of texts has: a row holds at least one of them whole.
func widest(sets ...*encode.Dataset) (most int) {
	for _, d := range sets {
		if d == nil {
			continue
		}
		for i := range d.Items {
			most = max(most, len(d.Items[i].Tokens))
		}
	}
	return most
}
