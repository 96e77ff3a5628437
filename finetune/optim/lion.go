package optim

import (
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/internal/setting"
)

// Lion goes by the sign of a moment (Chen et al. 2023, "Symbolic discovery of optimization algorithms", algorithm 2):
//
//	θ ← θ − η·λ·θ − η·sign(β₁·m + (1−β₁)·g)        m ← β₂·m + (1−β₂)·g
//
// λ applies to parameters with Decay. Each number moves by the whole rate, so that the paper takes a third to a tenth
// of AdamW's.
var Lion = registerOptimizer(&Optimizer{
	Name:       "lion",
	Doc:        "the sign of a moment (Chen et al. 2023); half of AdamW's memory",
	Reads:      []setting.Use{weightDecay.Use(), beta1.Use(), beta2.At(0.99)},
	StateBytes: each(func(n int64) int64 { return 4 * n }),
	Rate:       0.2,
	start:      startLion,
})

type lion struct {
	updater[graph.LionConstants]
	m []backend.Floats
}

func startLion(params []*engine.Param, s setting.Values, o Options) (rule, error) {
	l := &lion{}
	return l, l.start(params, s, o, l.add)
}

// add makes a node for each part of a parameter.
func (l *lion) add(i int, p *engine.Param, k graph.ID) error {
	if err := l.moments(p, &l.m); err != nil {
		return err
	}
	eachPart(p.Len(), updated, func(from int64, shape graph.Shape) {
		l.give(p, l.graph.Lion(l.master(p, from, shape), l.part(graph.State, l.m[i], from, shape),
			l.part(graph.Input, p.Grad, from, shape), k))
	})
	return nil
}

func (l *lion) Update(lr, scale float64) error {
	return l.update(lr, func(_ *engine.Param, rate, keep float64) graph.LionConstants {
		return graph.LionConstants{Scale: scale, Beta1: l.set.Of(beta1), Beta2: l.set.Of(beta2), Keep: keep, Rate: rate}
	})
}

func (l *lion) State() []checkpoint.Tensor { return l.listed("lion_m", l.m) }
