package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

func softCap(n *graph.Node) kernels.SoftCapConstants {
	return kernels.SoftCapConstants{Cap: n.Attr.(graph.SoftCapAttr).Cap}
}

var _ = emit(graph.SoftCap, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpSoftCap, softCap(n), l.whole(n.Out[0]), l.whole(n.In[0]))
})

var _ = emit(graph.SoftCapBack, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpSoftCapBack, softCap(n), l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]))
})
