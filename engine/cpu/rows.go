package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = emit(graph.Rows, rest, gather)

var _ = emit(graph.RowsGrad, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpRowsAdd, kernels.RowsAddConstants{Scale: 1}, l.whole(n.Out[0]), l.whole(n.In[0]), l.flat(n.In[1]))
})

var _ = emit(graph.Scatter, rest, func(l *lowering, n *graph.Node) {
	if !l.start(n) {
		call(l, kernels.OpZero, kernels.None{}, l.whole(n.Out[0]))
	}
	call(l, kernels.OpRowsAdd, kernels.RowsAddConstants{Scale: 1}, l.whole(n.Out[0]), l.whole(n.In[0]), l.flat(n.In[1]))
})
