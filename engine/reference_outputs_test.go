package engine_test

import (
	"context"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/internal/refmodel"
)

// TestReferenceValues holds values and every gradient through them, of the head and of the adapter, against the float64
// reference, in trees and packed rows.
func TestReferenceValues(t *testing.T) {
	for _, s := range sizes(t) {
		t.Run(s.Name, func(t *testing.T) {
			m := s.models(t)["adapter"]
			m.Value = refmodel.FormulaMatrix("value.weight", 1, m.NEmbd, 0, 0)
			r := newTrial(t, m, engine.SessionConfig{Threads: 1, Exact: true})
			for name, row := range rowsFor(m.NVocab) {
				last := int32(len(row.Tokens) - 1)
				row.Counted, row.Valued = nil, []int32{0, last / 3, last - 1, last}
				t.Run(name, func(t *testing.T) { r.checkOutputs(t, row) })
			}
		})
	}
}

// checkOutputs compares values with the reference, and the gradients that come back through them.
func (r *trial) checkOutputs(t *testing.T, row refmodel.Row) {
	t.Helper()
	p, err := r.model.Forward(row)
	if err != nil {
		t.Fatal(err)
	}
	d := refmodel.Slopes{Value: lossWeights(len(row.Valued))}
	want, err := p.BackwardFrom(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.session.ZeroGrad(); err != nil {
		t.Fatal(err)
	}
	out, err := r.session.Forward(context.Background(), &engine.Batch{Rows: []engine.Row{engineRow(row)}},
		engine.Options{Want: []*engine.Output{engine.Value}, Backward: true})
	if err != nil {
		t.Fatal(err)
	}
	if e := farthest(float64s(out[engine.Value]), p.Value); !(e <= exactLogP) {
		t.Errorf("values differ by %.3g of the largest, want at most %.3g", e, exactLogP)
	}
	grad := engine.Outputs{engine.Value: float32s(d.Value)}
	if err := r.session.Backward(context.Background(), grad, nil); err != nil {
		t.Fatal(err)
	}
	r.checkGradients(t, want, exact)
}

func float32s(x []float64) (out []float32) {
	for _, v := range x {
		out = append(out, float32(v))
	}
	return out
}
