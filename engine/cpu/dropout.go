package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

// The key is written into I[0] when the program is bound.
var _ = emit(graph.Dropout, rest, func(l *lowering, n *graph.Node) {
	a := n.Attr.(graph.DropoutAttr)
	l.call(kernels.OpDropout, []float64{a.Rate}, []int64{0, a.Stream}, l.whole(n.Out[0]), l.whole(n.In[0]))
})
