package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = emit(graph.SwiGLU, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpSwiGLU, kernels.None{}, l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]))
})

var _ = emit(graph.SwiGLUBack, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpSwiGLUBack, kernels.None{}, l.operands(n)...)
})
