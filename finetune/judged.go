package finetune

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/finetune/config"

	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/template"
	"github.com/ggtune/ggtune/internal/count"
)

// An input is a dataset on its way to rows.
type input struct {
	ds      *data.Dataset
	all     []int // the indices of its examples
	dropped int   // left out in reading

	// prompts tells the prompts of pairs and verdicts apart; nil where nobody asks. others is, for each verdict, the example
	// whose answer stands beside it.
	prompts [][sha256.Size]byte
	others  []int
}

// look goes through the judged examples of in once, to learn which prompts and answers differ.
func (s *textSide) look(ctx context.Context, in *input) error {
	judged := make([]encode.Judged, in.ds.Len())
	in.prompts = make([][sha256.Size]byte, len(judged))
	for i := range judged {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		x, err := in.ds.At(i)
		if err != nil {
			return err
		}
		if judged[i].Prompt, err = hashOf(x.Messages, x.Prompt); err != nil {
			return fmt.Errorf("%s: %w", x.Source, err)
		}
		a := x.Answers[0]
		if judged[i].Answer, err = hashOf(a.Messages, a.Text); err != nil {
			return fmt.Errorf("%s: %w", x.Source, err)
		}
		in.prompts[i] = judged[i].Prompt
		s.tell(i+1, len(judged))
	}
	if s.need != method.Verdicts {
		return nil
	}
	var ok bool
	if in.others, ok = encode.Others(judged); !ok {
		return fmt.Errorf("%s: every verdict (%d) is on one answer, and %s sets each beside the answer to another example; give at least 2 that differ",
			in.ds.Source(0), in.ds.Len(), s.method)
	}
	return nil
}

func hashOf(messages []data.Message, text string) (sum [sha256.Size]byte, err error) {
	b, err := json.Marshal(struct {
		Messages []data.Message
		Text     string
	}{messages, text})
	return sha256.Sum256(b), err
}

// split holds out part of the examples. The judged ones on one prompt stay together: a held-out prompt that was trained on
// would flatter the figures. Where all are on one prompt, those of one record do.
func (in *input) split(cfg *config.Config) (train, held []int, err error) {
	n, of := in.units()
	if n < 2 {
		what := "example"
		if len(in.all) > 1 {
			what = "prompt"
		}
		return nil, nil, fmt.Errorf("--eval-split holds out part of %s; at least 2 are needed", count.Of(n, what))
	}
	_, out := encode.Split(n, cfg.EvalSplit, cfg.Seed)
	for i, u := range of {
		if _, isHeld := slices.BinarySearch(out, u); isHeld {
			held = append(held, i)
		} else {
			train = append(train, i)
		}
	}
	return train, held, nil
}

// units numbers what is held out together: of gives each example's unit.
func (in *input) units() (n int, of []int) {
	of = make([]int, in.ds.Len())
	if in.prompts != nil {
		seen := map[[sha256.Size]byte]int{}
		for i, p := range in.prompts {
			u, ok := seen[p]
			if !ok {
				u = len(seen)
				seen[p] = u
			}
			of[i] = u
		}
		if len(seen) > 1 {
			return len(seen), of
		}
	}
	for i := range of {
		if i > 0 && (in.prompts == nil || !in.ds.SameRecord(i-1, i)) {
			n++
		}
		of[i] = n
	}
	return n + 1, of
}

// tree encodes the prompt of x with each of the answers.
func (s *textSide) tree(x *data.Example) (encode.Item, error) {
	items := make([]encode.Item, len(x.Answers))
	for i := range items {
		var err error
		if items[i], err = s.answered(x, &x.Answers[i]); err != nil {
			return encode.Item{}, err
		}
	}
	return encode.Siblings(x.Source, items...)
}

// verdict encodes x with its own answer and with that of another example.
func (s *textSide) verdict(x, other *data.Example) (encode.Item, error) {
	own, err := s.answered(x, &x.Answers[0])
	if err != nil {
		return encode.Item{}, err
	}
	a := other.Answers[0]
	switch chat := x.Answers[0].Messages != nil; {
	case chat && a.Messages == nil:
		a.Messages = []data.Message{{Role: data.Assistant, Content: a.Text}}
	case !chat && a.Messages != nil:
		a.Text, a.Messages = a.Messages[len(a.Messages)-1].Content, nil
	}
	beside, err := s.answered(x, &a)
	if err != nil {
		return encode.Item{}, fmt.Errorf("with the answer of %s beside its own: %w", other.Source, err)
	}
	it, cut, err := encode.Verdict(own, beside, x.Desirable, s.limit)
	if cut {
		s.cutBeside++
	}
	return it, err
}

// answered encodes the prompt of x with an answer. The end of one that was cut off does not count: it would teach to stop in
// the middle.
func (s *textSide) answered(x *data.Example, a *data.Answer) (encode.Item, error) {
	if a.Messages == nil {
		it, err := s.enc.Completion(x.Source, x.Prompt, a.Text)
		if n := len(it.Tokens); err == nil && a.CutOff && s.vocab.IsEOG(it.Tokens[n-1]) {
			it.Counted[n-1] = false
		}
		return it, err
	}
	r, err := s.render(slices.Concat(x.Messages, a.Messages), x.Tools)
	if err != nil {
		return encode.Item{}, fmt.Errorf("%s: %w", x.Source, err)
	}
	if a.CutOff {
		leaveOpen(r)
	}
	return s.enc.Conversation(x.Source, r)
}

// leaveOpen leaves the end of the last trained turn untrained.
func leaveOpen(r *template.Rendering) {
	for i := len(r.Spans) - 1; i >= 0; i-- {
		if sp := &r.Spans[i]; sp.Train {
			sp.Train = sp.Kind != template.End
			break
		}
	}
	r.EndsTurn = true // none is added
}

// needBoth refuses to train on verdicts of one class.
func (s *textSide) needBoth(d *encode.Dataset) error {
	if s.need != method.Verdicts {
		return nil
	}
	desirable, undesirable := d.Classes()
	found, missing, label := "desirable", "undesirable", false
	switch {
	case desirable > 0 && undesirable > 0:
		return nil
	case desirable == 0:
		found, missing, label = missing, found, true
	}
	return fmt.Errorf("%s: every answer that is left (%d) is %s, and --method %s needs both kinds: add %s ones, labelled %v", d.Items[0].Source, len(d.Items), found, s.method, missing, label)
}

// treeNotes says which trees were left out for their length, or for want of a prompt.
func (s *textSide) treeNotes(d *encode.Dataset) []string {
	var out []string
	l := d.LongTrees()
	if l.Count > 0 {
		out = append(out, fmt.Sprintf("left out: %s whose prompt and answers together are longer than a row of %d tokens (answers that are compared are not cut); the first is %s; --seq-len %d takes all in",
			count.Of(l.Count, "example"), s.limit.SeqLen, l.First, l.Longest))
	}
	if l.Deep > 0 {
		out = append(out, fmt.Sprintf("left out: %s longer than the %d positions that %s has learned, whatever the row length; the first is %s",
			count.Of(l.Deep, "example"), s.limit.Positions, s.model, l.FirstDeep))
	}
	if n := d.Counts.DroppedBare; n > 0 {
		out = append(out, fmt.Sprintf("left out: %s whose answers have no token before them to be predicted from (the prompt is empty, or a part of their first token, and %s expects no beginning-of-text token); the first is %s",
			count.Of(n, "example"), s.model, d.FirstBare()))
	}
	return out
}
