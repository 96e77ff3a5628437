package optim

import (
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
	updater[graph.AdamWConstants]
	m, v []backend.Floats
}

func startAdamW(params []*engine.Param, s setting.Values, o Options) (rule, error) {
	a := &adamW{}
	return a, a.start(params, s, o, a.add)
}

// add makes a node for each part of a parameter.
func (a *adamW) add(i int, p *engine.Param, k graph.ID) error {
	if err := a.moments(p, &a.m, &a.v); err != nil {
		return err
	}
	eachPart(p.Len(), updated, func(from int64, shape graph.Shape) {
		a.give(p, a.graph.AdamW(a.master(p, from, shape), a.part(graph.State, a.m[i], from, shape),
			a.part(graph.State, a.v[i], from, shape), a.part(graph.Input, p.Grad, from, shape), k))
	})
	return nil
}

func (a *adamW) Update(lr, scale float64) error { return updateAdamW(&a.updater, lr, scale) }

// updateAdamW is Update of every rule that computes as AdamW does.
func updateAdamW(u *updater[graph.AdamWConstants], lr, scale float64) error {
	return u.update(lr, func(_ *engine.Param, rate, keep float64) graph.AdamWConstants {
		b1, b2, t := u.set.Of(beta1), u.set.Of(beta2), float64(u.t)
		return graph.AdamWConstants{Scale: scale, Beta1: b1, Beta2: b2, Keep: keep, Rate: rate / (1 - math.Pow(b1, t)),
			Correct2: math.Sqrt(1 - math.Pow(b2, t)), Eps: u.set.Of(eps)}
	})
}

func (a *adamW) State() (out []checkpoint.Tensor) {
	for i, p := range a.params {
		out = append(out, checkpoint.DeviceFloats(p.Name+".adam_m", a.m[i]),
			checkpoint.DeviceFloats(p.Name+".adam_v", a.v[i]))
	}
	return out
}
