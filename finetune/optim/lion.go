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
	*computation
	set       setting.Values
	opts      Options
	params    []*engine.Param
	m         []backend.Floats
	constants constants[graph.LionConstants]
	t         int // updates done
}

func startLion(params []*engine.Param, s setting.Values, o Options) (rule, error) {
	l := &lion{computation: newComputation(params), set: s, opts: o, params: params}
	if err := l.build(); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// build makes the graph of an update: a node for each part of a parameter.
func (l *lion) build() (err error) {
	if l.constants, err = newConstants[graph.LionConstants](l.computation, len(l.params)); err != nil {
		return err
	}
	for i, p := range l.params {
		m, err := l.floats(p.Len())
		if err != nil {
			return err
		}
		l.m = append(l.m, m)
		k := l.constants.bind(i)
		eachPart(p.Len(), updated, func(from int64, shape graph.Shape) {
			l.give(p, l.graph.Lion(l.part(graph.State, p.Value, from, shape), l.part(graph.State, m, from, shape),
				l.part(graph.Input, p.Grad, from, shape), k))
		})
	}
	return l.compile()
}

func (l *lion) Update(lr, scale float64) error {
	l.t++
	for i, p := range l.params {
		rate := l.opts.rate(lr, p)
		k := graph.LionConstants{Scale: scale, Beta1: l.set.Of(beta1), Beta2: l.set.Of(beta2), Keep: 1, Rate: rate}
		if p.Decay {
			k.Keep = 1 - rate*l.set.Of(weightDecay)
		}
		l.constants.set(i, k)
	}
	if err := l.constants.upload(); err != nil {
		return err
	}
	return l.update(l.t, lr)
}

func (l *lion) State() (out []checkpoint.Tensor) {
	for i, p := range l.params {
		out = append(out, checkpoint.DeviceFloats(p.Name+".lion_m", l.m[i]))
	}
	return out
}

func (l *lion) SetUpdates(n int) { l.t = n }
