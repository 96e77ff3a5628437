package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = emit(graph.TopK, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpTopK, kernels.None{}, l.whole(n.Out[0]), l.whole(n.In[0]))
})

var _ = emit(graph.Group, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpGroup, kernels.None{}, l.whole(n.Out[0]), l.flat(n.Out[1]), l.flat(n.Out[2]), l.whole(n.In[0]))
})

func gatingOf(n *graph.Node) kernels.GatingConstants {
	a := n.Attr.(graph.GatingAttr)
	return kernels.GatingConstants{Scale: a.Scale, Kind: int64(a.Kind), Norm: a.Norm}
}

var _ = emit(graph.Gating, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpGating, gatingOf(n), l.operands(n)...)
})

var _ = emit(graph.GatingBack, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpGatingBack, gatingOf(n), l.operands(n)...)
})
