package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = emit(graph.Gate, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpGate, kernels.None{}, l.whole(n.Out[0]), l.whole(n.In[0]), l.flat(n.In[1]))
})
