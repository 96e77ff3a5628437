package engine_test

import (
	"context"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/internal/refmodel"
)

// TestReferenceOutputs holds log-probabilities, entropies and values at a temperature and pooled vectors, asked for at
// once and one by one, and every gradient through them, of the head and of the adapter, against the float64 reference,
// in trees and packed rows.
func TestReferenceOutputs(t *testing.T) {
	for _, s := range sizes(t) {
		t.Run(s.Name, func(t *testing.T) {
			m := s.models(t)["adapter"]
			m.Value = refmodel.FormulaMatrix("value.weight", 1, m.NEmbd, 0, 0)
			r := newTrial(t, m, engine.SessionConfig{Threads: 1, Exact: true})
			for name, row := range rowsFor(m.NVocab) {
				last := int32(len(row.Tokens) - 1)
				row.Valued, row.Temp = []int32{0, last / 3, last - 1, last}, 0.75
				row.Pooled, row.Pooling = vectors(row).Pooled, "mean"
				wanted := [][]*engine.Output{{engine.LogP, engine.Entropy, engine.Value, engine.Pooled},
					{engine.LogP}, {engine.Entropy}, {engine.Value}, {engine.Pooled}}
				if r.session.Model().Net().Headless {
					row.Counted, wanted = nil, [][]*engine.Output{{engine.Value, engine.Pooled}, {engine.Value}}
				}
				for _, want := range wanted {
					t.Run(name, func(t *testing.T) { r.checkOutputs(t, row, want, exact) })
				}
			}
		})
	}
}

// TestRecordedOutputs holds the exact mode against what PyTorch computed of entropies, values and log-probabilities at
// a temperature.
func TestRecordedOutputs(t *testing.T) {
	all, err := refmodel.RecordedOutputs()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		t.Run(o.Name, func(t *testing.T) {
			r := newTrial(t, o.Model, engine.SessionConfig{Threads: 1, Exact: true})
			r.forwardOutputs(t, o.Row, []*engine.Output{engine.LogP, engine.Entropy, engine.Value},
				&refmodel.Pass{LogP: o.LogP, Entropy: o.Entropy, Value: o.Value}, o.Slopes(), exactLogP)
			got := r.gradients(t)
			r.complete(t, got)
			for name, g := range got {
				if e := o.Grads[name].Difference(g); !(e <= exactDigest) {
					t.Errorf("gradient of %s differs by %.3g of its norm, want at most %.3g", name, e, exactDigest)
				}
			}
		})
	}
}

// checkOutputs compares what is asked for with the reference, and the gradients that come back through it.
func (r *trial) checkOutputs(t *testing.T, row refmodel.Row, want []*engine.Output, c closeness) {
	t.Helper()
	p, err := r.model.Forward(row)
	if err != nil {
		t.Fatal(err)
	}
	d := refmodel.Slopes{}
	for _, o := range want {
		switch o {
		case engine.LogP:
			d.LogP = lossWeights(len(p.LogP))
		case engine.Entropy:
			d.Entropy = lossWeights(len(p.Entropy))
		case engine.Value:
			d.Value = lossWeights(len(p.Value))
		case engine.Pooled:
			d.Pooled = lossWeights(len(p.Pooled))
		}
	}
	r.forwardOutputs(t, row, want, p, d, c.logp)
	grads, err := p.BackwardFrom(d)
	if err != nil {
		t.Fatal(err)
	}
	r.checkGradients(t, grads, c)
}

// forwardOutputs goes forward and back through what is asked for, and compares it with what a pass of the reference
// gave.
func (r *trial) forwardOutputs(t *testing.T, row refmodel.Row, want []*engine.Output, p *refmodel.Pass,
	d refmodel.Slopes, bound float64) {
	t.Helper()
	if err := r.session.ZeroGrad(); err != nil {
		t.Fatal(err)
	}
	opt := engine.Options{Want: want, Temp: row.Temp, Backward: true}
	if row.Pooling != "" {
		var err error
		if opt.Pooling, err = arch.PoolingOf(row.Pooling); err != nil {
			t.Fatal(err)
		}
	}
	out, err := r.session.Forward(context.Background(), &engine.Batch{Rows: []engine.Row{engineRow(row)}}, opt)
	if err != nil {
		t.Fatal(err)
	}
	grad := engine.Outputs{}
	for _, c := range []struct {
		out          *engine.Output
		want, slopes []float64
	}{{engine.LogP, p.LogP, d.LogP}, {engine.Entropy, p.Entropy, d.Entropy}, {engine.Value, p.Value, d.Value},
		{engine.Pooled, p.Pooled, d.Pooled}} {
		if out[c.out] == nil {
			continue
		}
		if e := farthest(float64s(out[c.out]), c.want); !(e <= bound) {
			t.Errorf("%s differs by %.3g of the largest, want at most %.3g", c.out.Name, e, bound)
		}
		grad[c.out] = float32s(c.slopes)
	}
	if len(grad) != len(want) {
		t.Fatalf("%d outputs of %d are compared", len(grad), len(want))
	}
	if err := r.session.Backward(context.Background(), grad, nil); err != nil {
		t.Fatal(err)
	}
}

func float32s(x []float64) (out []float32) {
	for _, v := range x {
		out = append(out, float32(v))
	}
	return out
}
