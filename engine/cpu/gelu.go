package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = emit(graph.GELU, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpGELU, kernels.None{}, l.whole(n.Out[0]), l.whole(n.In[0]))
})

var _ = emit(graph.GELUBack, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpGELUBack, kernels.None{}, l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]))
})
