package allot

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/delta"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/quant"
)

// projections of each side of a matrix: more give steadier figures, and cost memory and time.
const projections = 8

// keepBytes is what the passes may keep of activations, so that they are not computed again.
const keepBytes = 1 << 29

// probes is a LoRA adapter beside every matrix of the layers that changes nothing, and whose gradients tell how much
// errors of the matrix matter. Of a pair's ranks the first half has random signs a in A and zeros in B, the second
// zeros in A and random signs b in B, so that B·A is zero. With x the inputs of a token and g the loss's derivative by
// the outputs, the gradients are (a·x)·g in B and (b·g)·x in A, whose squares are |x|²·g² and |g|²·x² in the mean.
func probes(m *engine.Model, rng *rand.Rand) (*adapter.Adapter, error) {
	a, err := adapter.New(m.Net(), adapter.Config{Rank: 2 * projections, Alpha: 2 * projections, Init: "gaussian"})
	if err != nil {
		return nil, err
	}
	for i := range a.Pairs {
		p := &a.Pairs[i]
		clear(p.A)
		signs(rng, p.A[:projections*p.AShape[0]])
		for row := int64(0); row < p.BShape[1]; row++ {
			b := p.B[row*p.Rank:][:p.Rank]
			clear(b)
			signs(rng, b[projections:])
		}
	}
	return a, nil
}

func signs(rng *rand.Rand, x []float32) {
	for i := range x {
		x[i] = float32(2*rng.IntN(2) - 1)
	}
}

// sensitivities measures, for each matrix of the layers, how much the square of an error of one of its weights adds to
// the KL divergence of a prediction, as the product of a number for its row and one for its column (nats).
//
// The divergence grows as ½·Δᵀ·F·Δ with F the Fisher information, here that of the text's own tokens: the mean of the
// squared derivatives of their log-probabilities. Errors of different weights are taken to be independent, and the
// derivatives by a layer's outputs to be so of its inputs (as in K-FAC, Martens and Grosse 2015), so that the factors
// are sums of g² and of x². Tokens count with random signs, which makes the square of a row's gradient the sum of the
// squares of its tokens' in the mean: one backward pass for all of them.
func (m *measuring) sensitivities(ctx context.Context) (_ map[string]quant.Weighting, err error) {
	rng := rand.New(rand.NewPCG(1, 2)) // the same for everybody
	probe, err := probes(m.Model, rng)
	if err != nil {
		return nil, err
	}
	sets := slices.Concat(frozen(m.Sets), []engine.Set{{Name: probeSet, Adapter: probe}})
	s, err := engine.NewSession(m.Model, engine.SessionConfig{Threads: m.Threads, Sets: sets, Seed: 1,
		KeepBytes: keepBytes})
	if err != nil {
		return nil, err
	}
	defer func() { err = closing(err, s) }()
	sums := map[string]*quant.Weighting{}
	tokens := 0
	for i := range m.Items {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		n, err := m.backward(ctx, s, rng, &m.Items[i])
		if err != nil {
			return nil, err
		}
		tokens += n
		if err := gather(s, probe, sums); err != nil {
			return nil, err
		}
		m.rep.Report(report.Progress{What: "sensitivities", Done: i + 1, Total: len(m.Items)})
	}
	return normalize(sums, tokens)
}

const probeSet = "probe"

// backward runs an item forward and back with a random sign for each counted token, and says how many there are.
func (m *measuring) backward(ctx context.Context, s *engine.Session, rng *rand.Rand, it *encode.Item) (int, error) {
	row := eval.RowOf(it)
	if len(row.Counted) == 0 {
		return 0, nil
	}
	if err := s.ZeroGrad(); err != nil {
		return 0, err
	}
	ctx = context.WithoutCancel(ctx)
	if _, err := s.Forward(ctx, &engine.Batch{Rows: []engine.Row{row}}, engine.Options{Backward: true}); err != nil {
		return 0, err
	}
	grad := make([]float32, len(row.Counted))
	signs(rng, grad)
	return len(grad), s.Backward(ctx, engine.Outputs{engine.LogP: grad}, nil)
}

// gather adds the squares of the probes' gradients.
func gather(s *engine.Session, probe *adapter.Adapter, sums map[string]*quant.Weighting) error {
	byName := map[string]*engine.Param{}
	for _, p := range s.Params() {
		byName[p.Name] = p
	}
	for i := range probe.Pairs {
		p := &probe.Pairs[i]
		w := sums[p.Tensor]
		if w == nil {
			w = &quant.Weighting{Rows: make([]float64, p.BShape[1]), Columns: make([]float64, p.AShape[0])}
			sums[p.Tensor] = w
		}
		a, err := byName[probeSet+"/"+p.Tensor+"."+delta.A].Grad.All()
		if err != nil {
			return err
		}
		b, err := byName[probeSet+"/"+p.Tensor+"."+delta.B].Grad.All()
		if err != nil {
			return err
		}
		for k := range w.Rows {
			for _, x := range b[int64(k)*p.Rank:][:projections] {
				w.Rows[k] += float64(x) * float64(x) / projections
			}
		}
		for k := projections; k < 2*projections; k++ {
			for j, x := range a[k*len(w.Columns):][:len(w.Columns)] {
				w.Columns[j] += float64(x) * float64(x) / projections
			}
		}
	}
	return nil
}

// normalize makes the factors of nats a prediction: ½·rows·columns over their common sum and the tokens.
func normalize(sums map[string]*quant.Weighting, tokens int) (map[string]quant.Weighting, error) {
	out := map[string]quant.Weighting{}
	for name, w := range sums {
		rows, columns := total(w.Rows), total(w.Columns)
		if !(rows > 0 && columns > 0) || rows+columns-(rows+columns) != 0 {
			return nil, fmt.Errorf("how much errors of tensor %q matter cannot be measured: the derivatives are "+
				"zero or no numbers; look at the model with ggtune check", name)
		}
		for i := range w.Rows {
			w.Rows[i] /= (rows + columns) / 2 * float64(2*tokens)
		}
		out[name] = *w
	}
	return out, nil
}

// importance makes an importance matrix of the columns' factors: rows are rounded each by itself, so that theirs do not
// matter to it. What llama.cpp's own has are means of x² alone.
func importance(weigh map[string]quant.Weighting) quant.Importance {
	out := quant.Importance{}
	for name, w := range weigh {
		mean := total(w.Columns) / float64(len(w.Columns)) // sums of squared derivatives may be below f32's range
		x := make([]float32, len(w.Columns))
		for i, v := range w.Columns {
			x[i] = float32(v / mean)
		}
		out[name] = x
	}
	return out
}

func total(x []float64) (sum float64) {
	for _, v := range x {
		sum += v
	}
	return sum
}
