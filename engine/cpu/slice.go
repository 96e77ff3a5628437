package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = emit(graph.Slice, rest, func(l *lowering, n *graph.Node) {
	a := n.Attr.(graph.SliceAttr)
	call(l, kernels.OpCopy, kernels.CopyConstants{}, l.whole(n.Out[0]), l.part(n.In[0], a.Offset, a.Width))
})

var _ = emit(graph.Unslice, rest, func(l *lowering, n *graph.Node) {
	if !l.start(n) {
		call(l, kernels.OpZero, kernels.None{}, l.whole(n.Out[0]))
	}
	dy := l.whole(n.In[0])
	call(l, kernels.OpCopy, kernels.CopyConstants{Acc: true}, l.part(n.Out[0], n.Attr.(graph.SliceAttr).Offset, dy.ne0),
		dy)
})
