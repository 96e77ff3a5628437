package corpus

import (
	"context"
	"fmt"
	"os"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/internal/count"
)

// A Mixed is what is mixed in of other data than a run's own: a replay of what the model should not forget.
type Mixed struct {
	encode.Mixed
	// Held measures what is forgotten; nil: nothing of it is held out.
	Held     *encode.Dataset `json:"-"`
	HeldRows *encode.Loader  `json:"-"`
}

// mix adds examples of cfg.Mix to those that are trained on. The share is of the counted tokens of an epoch, so that
// long and short examples, and rows that are packed in one way or another, come to the same.
func (r *Reader) mix(ctx context.Context, out *Rows) error {
	mixes, err := r.cfg.Mixes()
	if err != nil {
		return &config.Error{Err: fmt.Errorf("--mix: %w", err)}
	}
	own := 1.0
	for i, m := range mixes {
		own -= m.Share
		if whole := r.cfg.Mix[i]; exists(whole) {
			return &config.Error{Err: fmt.Errorf("--mix %s: there is a file of that whole name, so that it may be "+
				"meant without a share, or %s with one; give %[1]s:SHARE, or rename it", whole, m.Path)}
		}
	}
	all := float64(out.Train.Counts.Counted) / own
	for _, m := range mixes {
		x := &Mixed{Mixed: encode.Mixed{File: m.Path, Share: m.Share}}
		err := r.readInto(ctx, []string{m.Path}, nothing, func(in *input) error {
			out.Notes = append(out.Notes, dropNotes(in.ds)...)
			return r.mixIn(ctx, out, in, x, max(int(m.Share*all+0.5), 1))
		})
		if err != nil {
			return fmt.Errorf("--mix: %w", err)
		}
		out.Mixed = append(out.Mixed, x)
	}
	for _, m := range out.Mixed {
		m.Got = float64(m.Counted) / float64(out.Train.Counts.Counted)
		out.Notes = append(out.Notes, "mixed in: "+m.String())
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// fewestDrawn is how many examples are drawn at least, where there are as many: plain text without marks between its
// documents is read in pieces of a megabyte, one of which alone would be a narrow choice.
const fewestDrawn = 8

// mixIn draws examples of in by the seed until goal of their tokens count, and encodes no others.
func (r *Reader) mixIn(ctx context.Context, out *Rows, in *input, x *Mixed, goal int) error {
	train, d := in.all, out.Train
	x.Examples = len(train)
	if k := r.cfg.HeldOfMix(x.Examples); k > 0 && out.Held != nil {
		var held []int
		train, held = encode.Split(x.Examples, k, r.cfg.Seed)
		var err error
		if x.Held, err = r.encode(ctx, in, held, 0); err != nil {
			return err
		}
		x.HeldExamples = k
	}
	first, before := len(d.Items), d.Counts.Counted
	for _, i := range encode.Draw(len(train), r.cfg.Seed) {
		if d.Counts.Counted-before >= goal && x.Drawn >= fewestDrawn {
			break
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := r.add(d, in, train[i]); err != nil {
			return err
		}
		x.Drawn++
		if r.Progress != nil && x.Drawn%often == 0 {
			r.Progress(min(d.Counts.Counted-before, goal), goal)
		}
	}
	if err := d.Check(); err != nil {
		return err
	}
	if len(d.Items) == first {
		return fmt.Errorf("%s: nothing is left of its %s to mix in; give others, or raise --seq-len", x.File,
			count.Of(x.Examples, "example"))
	}
	x.Passes = d.Fill(first, goal, r.cfg.Seed)
	x.Counted = d.Counts.Counted - before
	return nil
}
