package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = emit(graph.Combine, rest, func(l *lowering, n *graph.Node) {
	k := kernels.CombineConstants{Acc: l.start(n)}
	call(l, kernels.OpCombine, k, l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]))
})

var _ = emit(graph.Weigh, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpWeigh, kernels.None{}, l.operands(n)...)
})

var _ = emit(graph.WeighBack, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpWeighBack, kernels.None{}, l.operands(n)...)
})

var _ = emit(graph.WeighedBias, rest, func(l *lowering, n *graph.Node) {
	k := kernels.WeighedBiasConstants{Acc: l.start(n)}
	call(l, kernels.OpWeighedBias, k, l.operands(n)...)
})

var _ = emit(graph.WeighedBiasBack, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpWeighedBiasBack, kernels.None{}, l.operands(n)...)
})

var _ = emit(graph.WeighedBiasGrad, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpWeighedBiasGrad, kernels.None{}, l.operands(n)...)
})
