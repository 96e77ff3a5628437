package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = emit(graph.Add, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpAdd, kernels.AddConstants{Factor: 1}, l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]))
})
