package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = emit(graph.SwiGLU, rest, func(l *lowering, n *graph.Node) {
	l.call(kernels.OpSwiGLU, nil, nil, l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]))
})

var _ = emit(graph.SwiGLUBack, rest, func(l *lowering, n *graph.Node) {
	l.call(kernels.OpSwiGLUBack, nil, nil, append(l.all(n.Out), l.all(n.In)...)...)
})
