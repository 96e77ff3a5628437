package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = emit(graph.Squares, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpSquares, kernels.None{}, l.whole(n.Out[0]), l.whole(n.In[0]))
})
