package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
)

// productPhase is that of a product in the given direction, save where its weight stands beside one of the model's.
func productPhase(p backend.Phase) phaseFunc {
	return func(g *graph.Graph, n *graph.Node) backend.Phase {
		if g.Value(n.In[0]).Delta {
			return backend.PhaseAdapter
		}
		return p
	}
}

var _ = emit(graph.Linear, productPhase(backend.PhaseLinearForward), func(l *lowering, n *graph.Node) {
	acc := l.start(n)
	wide, thin := l.joined(n)
	views := []view{l.whole(n.Out[0]), l.operand(wide), l.whole(wide.In[0]), l.whole(wide.In[2])}
	l.product(kernels.OpLinear, acc, wide, thin, views)
})

var _ = emit(graph.LinearT, productPhase(backend.PhaseLinearBackward), func(l *lowering, n *graph.Node) {
	acc := l.start(n)
	wide, thin := l.joined(n)
	views := []view{l.whole(n.Out[0]), l.operand(wide), l.whole(wide.In[0]), absent}
	l.product(kernels.OpLinearT, acc, wide, thin, views)
})

// product emits a product and, in the same call, the one joined with it.
func (l *lowering) product(op kernels.Kernel[kernels.LinearConstants], acc bool, wide, thin *graph.Node, views []view) {
	k := kernels.LinearConstants{Scale: wide.Attr.(graph.LinearAttr).Scale, Acc: acc}
	if thin != nil {
		k.Scale2 = thin.Attr.(graph.LinearAttr).Scale
		views = append(views, l.operand(thin), l.whole(thin.In[0]))
	}
	call(l, op, k, views...)
}

func outerPhase(g *graph.Graph, n *graph.Node) backend.Phase {
	if g.Value(n.Out[0]).Delta {
		return backend.PhaseAdapter
	}
	return backend.PhaseLinearBackward
}

var _ = emit(graph.Outer, outerPhase, func(l *lowering, n *graph.Node) {
	k := kernels.OuterConstants{Scale: n.Attr.(graph.LinearAttr).Scale, Acc: true, Fast: !l.exact && !exactly(n)}
	call(l, kernels.OpOuter, k, l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]))
})

var _ = emit(graph.BiasGrad, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpBiasGrad, kernels.None{}, l.whole(n.Out[0]), l.whole(n.In[0]))
})
