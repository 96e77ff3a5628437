package finetune

import (
	"context"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
)

// accumulateCoupled is accumulate for methods whose loss couples the rows of a step: Forward for all micro-batches,
// the method once, then Forward again and Backward for each (of vectors of texts: Gao et al. 2021, "Scaling Deep
// Contrastive Learning Batch Size under Memory Limited Setup"). A step of one micro-batch goes forward once. It keeps
// no place within the step: a run that is stopped goes on from the step's beginning.
func (p *Parts) accumulateCoupled(ctx context.Context, st *State) error {
	whole := context.WithoutCancel(ctx)
	all := &method.Inputs{}
	var micros []*encode.Micro
	var ins []*method.Inputs
	tokens, once := 0, false
	for last := false; !last; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		m, err := p.Source.Next(ctx)
		if err != nil {
			return err
		}
		m.Batch.DropoutStep = st.Micros + uint64(len(micros))
		last = m.EndsStep || len(micros)+1 == p.Accum
		once = last && len(micros) == 0
		in, err := p.forward(whole, m, engine.Options{Dropout: true, Backward: once})
		if err != nil {
			return err
		}
		all.Append(in)
		micros, ins = append(micros, m), append(ins, in)
		tokens += m.Tokens
	}
	r, err := p.judge(all, micros...)
	if err != nil {
		return err
	}
	if err := p.Engine.ZeroGrad(); err != nil {
		return err
	}
	if err := p.learnOwn(&r); err != nil {
		return err
	}
	rest := r
	for i, m := range micros {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var own method.Result
		own, rest = rest.Cut(ins[i])
		if !once {
			_, want, err := p.ask(m)
			if err != nil {
				return err
			}
			if _, err := p.Engine.Forward(whole, &m.Batch, engine.Options{Want: want, Backward: true,
				Dropout: true, Temp: p.Temp, Pooling: p.Pooling}); err != nil {
				return err
			}
		}
		if err := p.Engine.Backward(whole, m.Slopes(p.Method, &own), nil); err != nil {
			return err
		}
		if p.Progress != nil {
			p.Progress(st)
		}
	}
	if err := st.Pending.add(r, len(micros), tokens); err != nil {
		return err
	}
	st.Place, st.Micros = p.Source.Place(), st.Micros+uint64(len(micros))
	return nil
}
