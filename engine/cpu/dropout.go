package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = emit(graph.Dropout, rest, func(l *lowering, n *graph.Node) {
	a := n.Attr.(graph.DropoutAttr)
	k := kernels.DropoutConstants{Rate: a.Rate, Stream: a.Stream}
	call(l, kernels.OpDropout, k, l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]))
})
