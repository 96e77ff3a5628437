package optim

import (
	"errors"
	"math"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/internal/setting"
)

var (
	weightDecay = &setting.Setting{
		Name:    "weight-decay",
		Usage:   "decoupled weight `DECAY`",
		Range:   setting.AtLeast(0, "at least 0"),
		Default: new(0.0),
	}
	beta1 = &setting.Setting{
		Name:    "beta1",
		Usage:   "decay of AdamW's first moment, and its share in Lion's direction",
		Range:   setting.Below(0, 1, "0 to below 1"),
		Default: new(0.9),
	}
	beta2 = &setting.Setting{
		Name:  "beta2",
		Usage: "decay of AdamW's second moment, of Lion's moment",
		Range: setting.Below(0, 1, "0 to below 1"),
	}
	eps = &setting.Setting{
		Name:  "eps",
		Usage: "the optimizer's epsilon",
		Range: setting.Above(0, "above 0"),
	}
)

// AdamW is Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2), as torch.optim.AdamW computes
// it:
//
//	θ ← θ − η·λ·θ
//	m ← β₁·m + (1−β₁)·g        v ← β₂·v + (1−β₂)·g²
//	θ ← θ − η·(m / (1−β₁ᵗ)) / (√(v / (1−β₂ᵗ)) + ε)
//
// λ applies to parameters with Decay. Moments are kept in F32, each update is computed in F64.
var AdamW = registerOptimizer(&Optimizer{
	Name:       "adamw",
	Doc:        "Adam with decoupled weight decay (Loshchilov and Hutter 2019)",
	Reads:      []setting.Use{weightDecay.Use(), beta1.Use(), beta2.At(0.999), eps.At(1e-8)},
	StateBytes: each(func(n int64) int64 { return 2 * 4 * n }),
	Rate:       1,
	start:      startAdamW,
})

type adamW struct {
	*computation
	set       setting.Values
	opts      Options
	params    []*engine.Param
	m, v      []backend.Floats
	constants constants[graph.AdamWConstants]
	t         int // updates done
}

func startAdamW(params []*engine.Param, s setting.Values, o Options) (rule, error) {
	a := &adamW{computation: newComputation(params), set: s, opts: o, params: params}
	if err := a.build(); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// build makes the graph of an update: a node for each part of a parameter.
func (a *adamW) build() (err error) {
	if a.constants, err = newConstants[graph.AdamWConstants](a.computation, len(a.params)); err != nil {
		return err
	}
	for i, p := range a.params {
		m, errM := a.floats(p.Len())
		v, errV := a.floats(p.Len())
		if err := errors.Join(errM, errV); err != nil {
			return err
		}
		a.m, a.v = append(a.m, m), append(a.v, v)
		k := a.constants.bind(i)
		eachPart(p.Len(), updated, func(from int64, shape graph.Shape) {
			a.give(p, a.graph.AdamW(a.part(graph.State, p.Value, from, shape), a.part(graph.State, m, from, shape),
				a.part(graph.State, v, from, shape), a.part(graph.Input, p.Grad, from, shape), k))
		})
	}
	return a.compile()
}

// numbers are the constants of a parameter's update, the a.t-th.
func (a *adamW) numbers(p *engine.Param, lr, scale float64) graph.AdamWConstants {
	b1, b2, rate := a.set.Of(beta1), a.set.Of(beta2), a.opts.rate(lr, p)
	k := graph.AdamWConstants{Scale: scale, Beta1: b1, Beta2: b2, Keep: 1, Rate: rate / (1 - math.Pow(b1,
		float64(a.t))),
		Correct2: math.Sqrt(1 - math.Pow(b2, float64(a.t))), Eps: a.set.Of(eps)}
	if p.Decay {
		k.Keep = 1 - rate*a.set.Of(weightDecay)
	}
	return k
}

func (a *adamW) Update(lr, scale float64) error {
	a.t++
	for i, p := range a.params {
		a.constants.set(i, a.numbers(p, lr, scale))
	}
	if err := a.constants.upload(); err != nil {
		return err
	}
	return a.update(a.t, lr)
}

func (a *adamW) State() []checkpoint.Tensor {
	out := make([]checkpoint.Tensor, 0, 2*len(a.params))
	for i, p := range a.params {
		out = append(out, checkpoint.DeviceFloats(p.Name+".adam_m", a.m[i]),
			checkpoint.DeviceFloats(p.Name+".adam_v", a.v[i]))
	}
	return out
}

func (a *adamW) SetUpdates(n int) { a.t = n }
