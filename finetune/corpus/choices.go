package corpus

import (
	"context"
	"math/rand/v2"
	"slices"
	"unicode/utf8"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
)

// Choices are questions as rows: each is a tree of the question and its choices, whose tokens count.
type Choices struct {
	Rows      *encode.Loader
	Questions []Question // by the examples of the rows' sequences
	Counts    *encode.Counts
	Notes     []string
}

// A Question is one of them.
type Question struct {
	Source data.Source
	Right  int
	// Lengths are the choices' in characters, without the space before them.
	Lengths []int
}

// ReadChoices reads cfg.Data as multiple choice, at most cfg.EvalRows questions of it; chat says that the template
// renders them as conversations.
func (r *Reader) ReadChoices(ctx context.Context, chat bool) (*Choices, error) {
	ds, err := openData(ctx, r.cfg, r.cfg.Data, data.Options{Want: data.WantChoices, ChatChoices: chat})
	if err != nil {
		return nil, err
	}
	defer ds.Close()
	d, err := encode.NewDataset(method.Answers, r.limit)
	if err != nil {
		return nil, err
	}
	d.Invoke(r.invocation, r.mayLack)
	out := &Choices{Counts: &d.Counts, Notes: dropNotes(ds)}
	which := sample(ds.Len(), r.cfg)
	for n, i := range which {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		x, err := ds.At(i)
		if err != nil {
			return nil, err
		}
		it, err := r.tree(&x)
		if err != nil {
			return nil, err
		}
		kept := len(d.Items)
		if d.Add(it); len(d.Items) > kept {
			out.Questions = append(out.Questions, question(&x))
		}
		r.tell(n+1, len(which))
	}
	dropped := ds.Stats().Read - ds.Stats().Kept
	d.Counts.Examples, d.Counts.DroppedRead = d.Counts.Examples+dropped, dropped
	if err := d.Check(); err != nil {
		return nil, err
	}
	all := *r.cfg
	all.EvalRows = 0 // they are drawn already
	rows := &Rows{Held: d, cfg: &all, how: r.how}
	if err := r.finish(rows); err != nil {
		return nil, err
	}
	out.Rows, out.Notes = rows.HeldRows, append(out.Notes, rows.Notes...)
	return out, nil
}

func question(x *data.Example) Question {
	q := Question{Source: x.Source, Right: x.Right}
	for _, a := range x.Answers {
		text := a.Text
		if a.Messages != nil {
			text = a.Messages[0].Content
		} else if len(text) > 0 {
			text = text[1:] // the space that joins it to the question
		}
		q.Lengths = append(q.Lengths, utf8.RuneCountInString(text))
	}
	return q
}

// sample draws cfg.EvalRows of n questions, in their order; 0: all.
func sample(n int, cfg *config.Config) []int {
	drawn := rand.New(rand.NewPCG(cfg.Seed, uint64(n))).Perm(n)
	if cfg.EvalRows > 0 && cfg.EvalRows < n {
		drawn = drawn[:cfg.EvalRows]
	}
	slices.Sort(drawn)
	return drawn
}
