package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = emit(graph.Times, rest, func(l *lowering, n *graph.Node) {
	k := kernels.TimesConstants{Factor: n.Attr.(graph.TimesAttr).Factor}
	call(l, kernels.OpTimes, k, l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]))
})
