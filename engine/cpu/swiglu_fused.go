package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

// The kernels of SwiGLU see the halves of longer rows as they see rows of their own: nothing is copied.
var _ = emit(graph.SwiGLUFused, rest, func(l *lowering, n *graph.Node) {
	y := l.whole(n.Out[0])
	call(l, kernels.OpSwiGLU, kernels.None{}, y, l.part(n.In[0], 0, y.ne0), l.part(n.In[0], y.ne0, y.ne0))
})

var _ = emit(graph.SwiGLUFusedBack, rest, func(l *lowering, n *graph.Node) {
	dy, x, dx := l.whole(n.In[1]), n.In[0], n.Out[0]
	call(l, kernels.OpSwiGLUBack, kernels.None{}, l.part(dx, 0, dy.ne0), l.part(dx, dy.ne0, dy.ne0),
		l.part(x, 0, dy.ne0), l.part(x, dy.ne0, dy.ne0), dy)
})
