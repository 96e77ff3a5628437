package eval

import (
	"context"
	"fmt"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/encode"
)

// A Pick is what a model makes of one question: its choice by log-probability, and by that over the choice's length in
// characters, as lm-evaluation-harness has them (acc and acc_norm in lm_eval/api/task.py). Of equal ones the first is
// taken.
type Pick struct {
	LogP       []float64 // of each choice, nats
	Best, Norm int       // the choices
}

// Choose measures the choices of the questions in rows, all of them: lengths has, for each question, those of its
// choices.
func Choose(ctx context.Context, e Engine, rows *encode.Loader, lengths [][]int, o Options) ([]Pick, error) {
	picks := make([]Pick, len(lengths))
	for i := range picks {
		picks[i].LogP = make([]float64, len(lengths[i]))
	}
	done := 0
	for c := (encode.Cursor{}); c.Epoch == 0; {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		batch, next, err := rows.Next(c)
		if err != nil {
			return nil, err
		}
		opt := engine.Options{}
		if o.NoAdapter {
			opt.Apply = engine.Only()
		}
		out, err := e.Forward(context.WithoutCancel(ctx), &batch.Batch, opt)
		if err != nil {
			return nil, err
		}
		logp := out[engine.LogP]
		for _, s := range batch.Sequences {
			sum := 0.0
			for _, lp := range logp[s.Start : s.Start+s.Len] {
				sum += float64(lp)
			}
			if sum-sum != 0 {
				return nil, fmt.Errorf(
					"the log-probability of a choice is %g, at %s; look at the model with ggtune check",
					sum, encode.Places(batch))
			}
			picks[s.Example].LogP[s.Child-1] = sum // child 0 is the question
		}
		done += len(batch.Batch.Rows)
		if o.Progress != nil {
			o.Progress(done)
		}
		c = next
	}
	for i := range picks {
		picks[i].pick(lengths[i])
	}
	return picks, nil
}

// pick takes the likeliest choices.
func (p *Pick) pick(lengths []int) {
	for k, lp := range p.LogP {
		if lp > p.LogP[p.Best] {
			p.Best = k
		}
		if lp/float64(lengths[k]) > p.LogP[p.Norm]/float64(lengths[p.Norm]) {
			p.Norm = k
		}
	}
}
