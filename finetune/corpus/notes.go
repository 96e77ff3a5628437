package corpus

import (
	"fmt"
	"strings"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/internal/count"
)

// dropNotes says what was left out when the data was read, or found cut off, and where.
func dropNotes(ds *data.Dataset) []string {
	var out []string
	for _, d := range ds.Stats().Dropped {
		out = append(out, fmt.Sprintf("left out: %s (%s); the first at %s", count.Of(d.Count, "example"), d.Reason,
			d.First[0]))
	}
	if c := ds.Stats().CutOff; c != nil {
		out = append(out, fmt.Sprintf("%s: %s; its end is not trained on; the first at %s",
			count.Of(c.Count, "example"), c.Reason, c.First[0]))
	}
	return append(out, readNotes(ds)...)
}

// readNotes says what was not read of the examples that are kept, and what in them is worth a word.
func readNotes(ds *data.Dataset) []string {
	var out []string
	for _, what := range ds.Stats().Skipped {
		out = append(out, fmt.Sprintf("left out: %s, not a regular file", what))
	}
	for _, table := range ds.Stats().Judged {
		out = append(out, "judged by "+table)
	}
	if n := unreadNote(ds.Stats().Unread); n != "" {
		out = append(out, n)
	}
	for _, d := range ds.Stats().Remarks {
		out = append(out, fmt.Sprintf("%s: %s; the first at %s", count.Of(d.Count, "record"), d.Reason, d.First[0]))
	}
	return out
}

// unreadNote lists the fields that nothing reads, with the records that have them.
func unreadNote(columns []data.Column) string {
	const most = 20 // names; inspect --json gives all
	var b strings.Builder
	for i, c := range columns {
		switch {
		case i == most:
			fmt.Fprintf(&b, ", and %s", count.Of(len(columns)-most, "other"))
		case i < most:
			fmt.Fprintf(&b, "%s%q (%d)", map[bool]string{true: ", "}[i > 0], c.Name, c.Count)
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "left out: fields of the data that nothing reads, with the number of records that have them: " + b.String() +
		"; --columns NAME=FIELD reads one as another, --columns =FIELD says that it is not needed"
}

// lengthNotes says what the row length and the model's context did to the examples.
func (r *Reader) lengthNotes(rows *Rows) []string {
	var out []string
	if p := r.limit.Positions; p > 0 && p < r.limit.SeqLen {
		out = append(out, fmt.Sprintf("%s has %d positions: examples are limited to that many tokens (rows still "+
			"pack several up to %d)", r.text.model, p, r.cfg.SeqLen))
	}
	longest, widest := 0, 0
	for _, d := range []*encode.Dataset{rows.Train, rows.Held} {
		if d == nil {
			continue
		}
		for i := range d.Items {
			longest, widest = max(longest, d.Items[i].Depth()), max(widest, len(d.Items[i].Tokens))
		}
		if d.Counts.DroppedCut > 0 {
			out = append(out, fmt.Sprintf("left out: %s whose prompt fills a row of %d tokens, such as %s; a larger "+
				"--seq-len takes in more",
				count.Of(d.Counts.DroppedCut, "example"), r.limit.Window(), d.CutAnswers()[0]))
		}
		out = append(out, r.treeNotes(d)...)
	}
	if r.cutBeside > 0 {
		out = append(out, fmt.Sprintf("beside %s the other example's answer is cut to fit the row: it is a sample "+
			"of what the model would say, and not trained on", count.Of(r.cutBeside, "verdict")))
	}
	if r.context > 0 && longest > r.context {
		out = append(out, fmt.Sprintf("the longest example has %d tokens, and %s was trained to read %d at once: "+
			"what lies beyond may be learned badly; --seq-len %d stays within", longest, r.text.model, r.context,
			r.context))
		return out
	}
	if rows.Train == nil || r.limit.Answer > 0 {
		return out // a row length only limits what is measured, or what is written behind a prompt
	}
	return append(out, r.roomNotes(longest, widest)...)
}

// roomNotes says what a row length that somebody chose does if it is more than the model was trained to read at once,
// or than any example takes. The longest example has longest tokens one after the other, and the widest, with all its
// answers, widest.
func (r *Reader) roomNotes(longest, widest int) []string {
	n := r.cfg.SeqLen
	switch {
	case widest == 0 || widest >= n || n == config.Default().SeqLen:
		return nil
	case r.context > 0 && n > r.context && r.limit.Positions == 0:
		return []string{fmt.Sprintf("--seq-len %d is more than the %d tokens that %s was trained to read at once; the "+
			"longest example has %d, so that nothing is read beyond them: examples in one row are read apart", n,
			r.context,
			r.text.model, longest)}
	}
	return []string{
		fmt.Sprintf("--seq-len %d is more than any example takes: the longest has %d tokens, and only rows that "+
			"hold several, read apart, are longer", n, widest)}
}

// treeNotes says which trees were left out for their length, or for want of a prompt.
func (r *Reader) treeNotes(d *encode.Dataset) []string {
	var out []string
	l := d.LongTrees()
	if l.Count > 0 {
		out = append(out, fmt.Sprintf("left out: %s whose prompt and answers together are longer than a row of %d "+
			"tokens (answers that are compared are not cut); the first is %s; --seq-len %d takes all in",
			count.Of(l.Count, "example"), r.limit.SeqLen, l.First, l.Longest))
	}
	if l.Deep > 0 {
		out = append(out, fmt.Sprintf("left out: %s longer than the %d positions that %s has, whatever the "+
			"row length; the first is %s",
			count.Of(l.Deep, "example"), r.limit.Positions, r.text.model, l.FirstDeep))
	}
	if n := d.Counts.DroppedBare; n > 0 {
		out = append(out, fmt.Sprintf("left out: %s whose answers have no token before them to be predicted from "+
			"(the prompt is empty, or a part of their first token, and %s expects no beginning-of-text token); the "+
			"first is %s",
			count.Of(n, "example"), r.text.model, d.FirstBare()))
	}
	return out
}

// needBoth refuses to train on verdicts of one class.
func (r *Reader) needBoth(d *encode.Dataset) error {
	if r.how.Need != method.Verdicts && r.how.Need != method.Labels {
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
	return fmt.Errorf("%s: every answer that is left (%d) is %s, and --method %s needs both kinds: add %s ones, "+
		"labelled %v", d.Items[0].Source, len(d.Items), found, r.how.Name, missing, label)
}
