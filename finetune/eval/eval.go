// Package eval measures a model on held-out rows: loss, perplexity, and the method's own figures; and it remembers
// which step was best. It knows no file and no optimizer.
package eval

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
)

// An Engine computes what methods are made of, mostly log-probabilities; engine.Session is one.
type Engine interface {
	Forward(ctx context.Context, b *engine.Batch, o engine.Options) (engine.Outputs, error)
}

// Options of a measurement.
type Options struct {
	NoAdapter bool         // measure the base model
	Temp      float64      // of the distributions that log-probabilities are of; 0: 1
	Pooling   arch.Pooling // of vectors; 0: what the model's file says
	// Reference gives the reference model's log-probabilities; nil where the method needs none.
	Reference func(ctx context.Context, m *encode.Micro) ([]float64, error)
	// Teacher says what a teacher does of a micro-batch; nil where the method has none.
	Teacher func(m *encode.Micro) (*encode.Teaching, error)
	// Own are the method's own numbers; nil: as they begin.
	Own []float64
	// Bytes is the length of a token's text, 0 of a control token; nil: bits per byte are not wanted.
	Bytes func(token int32) int
	// Seen is told what the method sees of each micro-batch; nil: nobody asks.
	Seen func(in *method.Inputs)
	// Progress is called after every micro-batch with the rows done; nil: nobody asks.
	Progress func(rows int)
}

// BitsPerByte is the figure of whole texts by which models with other tokenizers compare: the bits that the counted
// tokens take over the bytes of their text.
const BitsPerByte = "bits_per_byte"

// A Result is one measurement.
type Result struct {
	Loss    float64 // of the method, per unit: for SFT nats per counted token
	NLL     float64 // nats per counted token; NaN where answers are compared: some of them should be unlikely
	Tokens  int     // read
	Counted int
	Metrics []method.Metric
}

// Perplexity is e to the nats per counted token, NaN where NLL is.
func (r Result) Perplexity() float64 { return math.Exp(r.NLL) }

// Run measures the loss of one pass over data, without dropout, in the data's order. On cancel it returns
// context.Cause(ctx).
func Run(ctx context.Context, e Engine, data *encode.Loader, m *method.Method, o Options) (Result, error) {
	if m.Measure != nil {
		m = m.Measure
	}
	var out Result
	var sum, units, nll float64
	bytes := 0                // of the counted tokens
	whole := &method.Inputs{} // of a coupled method, what belongs together: the pass, or a step that the data makes
	take := func(in *method.Inputs) error {
		in.Own = o.Own
		r, err := m.Evaluate(in)
		if err != nil {
			return err
		}
		sum, units = sum+r.Sum, units+r.Units
		out.Counted += r.Counted
		out.Metrics, err = method.AddMetrics(out.Metrics, r.Metrics)
		return err
	}
	err := Each(ctx, e, data, m, o, func(batch *encode.Micro, in *method.Inputs) (bool, error) {
		for _, lp := range in.LogP {
			nll -= lp
		}
		if o.Bytes != nil {
			for _, row := range batch.Batch.Rows {
				for _, i := range row.Counted {
					bytes += o.Bytes(row.Tokens[i])
				}
			}
		}
		if o.Seen != nil {
			o.Seen(in)
		}
		out.Tokens += batch.Tokens
		if !m.Coupled {
			return true, take(in)
		}
		if whole.Append(in); !batch.EndsStep {
			return true, nil
		}
		in, whole = whole, &method.Inputs{}
		return true, take(in)
	})
	if err != nil {
		return Result{}, err
	}
	if out.Counted == 0 || !(units > 0) {
		return Result{}, errors.New("evaluation: no token of the held-out data counts; give data with answers")
	}
	out.Loss, out.NLL = sum/units, nll/float64(out.Counted)
	if math.IsNaN(out.Loss+out.NLL) || math.IsInf(out.Loss+out.NLL, 0) {
		return Result{}, fmt.Errorf("evaluation: loss %g is not finite; look at the model with ggtune check", out.Loss)
	}
	if m.Need != method.Answers {
		out.NLL = math.NaN()
	}
	if data.Whole() && bytes > 0 {
		out.Metrics = append(out.Metrics, method.Metric{Name: BitsPerByte, Sum: nll / math.Ln2, Weight: float64(bytes)})
	}
	return out, nil
}

// Each gives do, one micro-batch after the other in the data's order, what a method sees of it, until it wants no more.
// On cancel it returns context.Cause(ctx).
func Each(ctx context.Context, e Engine, data *encode.Loader, m *method.Method, o Options,
	do func(batch *encode.Micro, in *method.Inputs) (more bool, err error)) error {
	rows := 0
	for c := (encode.Cursor{}); c.Epoch == 0; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		batch, next, err := data.Next(c)
		if err != nil {
			return err
		}
		in, err := inputs(ctx, e, batch, m, o)
		if err != nil {
			return err
		}
		more, err := do(batch, in)
		if err != nil {
			return err
		}
		rows += len(batch.Batch.Rows)
		if o.Progress != nil {
			o.Progress(rows)
		}
		if c = next; !more {
			return nil
		}
	}
	return nil
}

func inputs(ctx context.Context, e Engine, batch *encode.Micro, m *method.Method, o Options) (*method.Inputs, error) {
	opt := engine.Options{Temp: o.Temp, Pooling: o.Pooling}
	if o.NoAdapter {
		opt.Apply = engine.Only()
	}
	var said *encode.Teaching
	var err error
	if m.Teacher {
		if said, err = o.Teacher(batch); err != nil {
			return nil, err
		}
	}
	if opt.Want, err = batch.Want(m, said); err != nil {
		return nil, err
	}
	out, err := e.Forward(context.WithoutCancel(ctx), &batch.Batch, opt)
	if err != nil {
		return nil, err
	}
	var ref []float64
	if m.Reference {
		if ref, err = o.Reference(ctx, batch); err != nil {
			return nil, err
		}
	}
	return batch.Inputs(m, out, ref, said)
}

// Best remembers the lowest loss of a run. The zero value has seen none.
type Best struct {
	Seen  int     `json:"seen"` // evaluations
	Step  int     `json:"step"` // of the lowest loss
	Loss  float64 `json:"loss"`
	Since int     `json:"since"` // evaluations without a lower loss
}

// Add takes in the loss of an evaluation at step and says whether it is the lowest yet.
func (b *Best) Add(step int, loss float64) bool {
	b.Seen++
	if b.Seen > 1 && !(loss < b.Loss) {
		b.Since++
		return false
	}
	b.Step, b.Loss, b.Since = step, loss, 0
	return true
}

// Stop says that patience evaluations in a row brought nothing; patience 0 never stops.
func (b *Best) Stop(patience int) bool { return patience > 0 && b.Since >= patience }
