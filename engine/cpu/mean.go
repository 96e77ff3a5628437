package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = emit(graph.Mean, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpMean, kernels.None{}, l.whole(n.Out[0]), l.whole(n.In[0]), l.flat(n.In[1]))
})

var _ = emit(graph.MeanBack, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpMeanBack, kernels.None{}, l.whole(n.Out[0]), l.whole(n.In[0]), l.flat(n.In[1]))
})
