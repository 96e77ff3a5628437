package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = emit(graph.GEGLU, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpGEGLU, kernels.None{}, l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]))
})

var _ = emit(graph.GEGLUBack, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpGEGLUBack, kernels.None{}, l.operands(n)...)
})
