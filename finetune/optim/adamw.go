package optim

import (
	"errors"
	"fmt"
	"math"

	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/internal/setting"
)

var (
	weightDecay = &setting.Setting{
		Name:    "weight-decay",
		Usage:   "AdamW's decoupled weight `DECAY`",
		Range:   setting.AtLeast(0, "at least 0"),
		Default: new(0.0),
	}
	beta1 = &setting.Setting{
		Name:    "beta1",
		Usage:   "AdamW's decay of the first moment",
		Range:   setting.Below(0, 1, "0 to below 1"),
		Default: new(0.9),
	}
	beta2 = &setting.Setting{
		Name:    "beta2",
		Usage:   "AdamW's decay of the second moment",
		Range:   setting.Below(0, 1, "0 to below 1"),
		Default: new(0.999),
	}
	eps = &setting.Setting{
		Name:    "eps",
		Usage:   "AdamW's epsilon",
		Range:   setting.Above(0, "above 0"),
		Default: new(1e-8),
	}
)

// AdamW is Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2), as torch.optim.AdamW computes it:
//
//	θ ← θ − η·λ·θ
//	m ← β₁·m + (1−β₁)·g        v ← β₂·v + (1−β₂)·g²
//	θ ← θ − η·(m / (1−β₁ᵗ)) / (√(v / (1−β₂ᵗ)) + ε)
//
// λ applies to parameters with Decay. Moments are kept in F32, each update is computed in F64.
var AdamW = registerOptimizer(&Optimizer{
	Name:       "adamw",
	Doc:        "Adam with decoupled weight decay (Loshchilov and Hutter 2019)",
	Reads:      []setting.Use{weightDecay.Use(), beta1.Use(), beta2.Use(), eps.Use()},
	StateBytes: func(numbers int64) int64 { return 2 * 4 * numbers },
	start:      startAdamW,
})

type adamW struct {
	set           setting.Values
	opts          Options
	params        []*engine.Param
	m, v          [][]float32
	values, grads [][]float32
	spans         []span
	t             int // updates done
}

func startAdamW(params []*engine.Param, s setting.Values, o Options) (Running, error) {
	a := &adamW{set: s, opts: o, params: params, spans: spansOf(params)}
	var err, errGrad error
	a.values, err = hostViews(params, func(p *engine.Param) backend.Floats { return p.Value })
	a.grads, errGrad = hostViews(params, func(p *engine.Param) backend.Floats { return p.Grad })
	if err := errors.Join(err, errGrad); err != nil {
		return nil, err
	}
	for _, p := range params {
		a.m = append(a.m, make([]float32, p.Len()))
		a.v = append(a.v, make([]float32, p.Len()))
	}
	return a, nil
}

func (a *adamW) Update(lr, scale float64) error {
	a.t++
	b1, b2 := a.set.Of(beta1), a.set.Of(beta2)
	lambda, e := a.set.Of(weightDecay), a.set.Of(eps)
	correct1 := 1 - math.Pow(b1, float64(a.t))
	correct2 := math.Sqrt(1 - math.Pow(b2, float64(a.t)))
	faults := make([]error, len(a.spans))
	parallel(len(a.spans), a.opts.Threads, func(i int) {
		s := a.spans[i]
		p := a.params[s.param]
		rate := a.opts.rate(lr, p)
		keep := 1.0
		if p.Decay {
			keep = 1 - rate*lambda
		}
		var spoiled [1]float32
		k := kernels.AdamWConstants{Scale: scale, Beta1: b1, Beta2: b2, Keep: keep, Rate: rate / correct1, Correct2: correct2, Eps: e}
		call := kernels.OpAdamW.Call(kernels.None{}, row(a.values[s.param][s.from:s.to]), row(a.m[s.param][s.from:s.to]),
			row(a.v[s.param][s.from:s.to]), row(a.grads[s.param][s.from:s.to]), k.Arg(), row(spoiled[:]))
		if faults[i] = kernels.Run(&call, 1); faults[i] == nil && spoiled[0] != 0 {
			faults[i] = fmt.Errorf("%w: update %d at learning rate %g spoiled %q", ErrParams, a.t, lr, p.Name)
		}
	})
	for _, err := range faults {
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *adamW) State() []checkpoint.Tensor {
	out := make([]checkpoint.Tensor, 0, 2*len(a.params))
	for i, p := range a.params {
		out = append(out, checkpoint.Floats(p.Name+".adam_m", a.m[i]), checkpoint.Floats(p.Name+".adam_v", a.v[i]))
	}
	return out
}

func (a *adamW) SetUpdates(n int) { a.t = n }
