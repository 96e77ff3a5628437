package refmodel

import (
	"fmt"
	"math"
	"testing"
)

// TestGates holds each way of weighing experts to finite differences, and to what is known of the weights.
func TestGates(t *testing.T) {
	for _, g := range []gating{{Kind: gateSoftmax}, {Kind: gateSoftmax, Norm: true, Scale: 2.5},
		{Kind: gateSoftmaxChosen}, {Kind: gateSigmoid}, {Kind: gateSigmoid, Norm: true}} {
		t.Run(fmt.Sprintf("%+v", g), func(t *testing.T) {
			logits := FormulaMatrix("logits", 3, 5, 0, 0)
			chosen, d := topK(logits, 2), FormulaMatrix("slopes", 3, 2, 0, 0)
			run := func() (*tape, *node, *node) {
				tp := &tape{}
				in := tp.holding(logits)
				return tp, in, tp.gates(in, chosen, g)
			}
			tp, in, out := run()
			tp.prepare()
			copy(out.grad.Data, d.Data)
			tp.backward()
			for i, at := range logits.Data {
				const step = 1e-5
				loss := func(v float64) float64 {
					logits.Data[i] = v
					_, _, y := run()
					return dot(y.val.Data, d.Data)
				}
				want := (loss(at+step) - loss(at-step)) / (2 * step)
				if logits.Data[i] = at; math.Abs(in.grad.Data[i]-want) > 1e-9 {
					t.Errorf("slope of logit %d is %g, finite differences give %g", i, in.grad.Data[i], want)
				}
			}
			for r, at := range chosen {
				w := out.val.Row(r)
				if logits.Row(r)[at[0]] < logits.Row(r)[at[1]] || w[0] < w[1] {
					t.Errorf("token %d: experts %v, of logits %v, weigh %v", r, at, logits.Row(r), w)
				}
				if sum := w[0] + w[1]; (g.Norm || g.Kind == gateSoftmaxChosen) &&
					math.Abs(sum-max(1, g.Scale)) > 1e-12 {
					t.Errorf("token %d: the weights add up to %g", r, sum)
				}
			}
		})
	}
}
