package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

func norm(n *graph.Node) kernels.NormConstants {
	return kernels.NormConstants{Eps: n.Attr.(graph.NormAttr).Eps}
}

func normBack(n *graph.Node, acc bool) kernels.NormBackConstants {
	return kernels.NormBackConstants{Eps: n.Attr.(graph.NormAttr).Eps, Acc: acc}
}

var _ = emit(graph.RMSNorm, rest, func(l *lowering, n *graph.Node) {
	run := graph.NormRun(l.graph, n)
	call(l, kernels.OpRMSNorm, norm(n), l.cut(n.Out[0], run), l.cut(n.In[0], run), l.whole(n.In[1]))
})

var _ = emit(graph.RMSNormBack, rest, func(l *lowering, n *graph.Node) {
	acc, run := l.start(n), graph.NormRun(l.graph, n)
	call(l, kernels.OpRMSNormBack, normBack(n, acc),
		l.cut(n.Out[0], run), l.cut(n.In[0], run), l.whole(n.In[1]), l.cut(n.In[2], run))
})

var _ = emit(graph.RMSNormGrad, rest, func(l *lowering, n *graph.Node) {
	dw := l.whole(n.Out[0])
	call(l, kernels.OpRMSNormGrad, norm(n), dw, l.cut(n.In[0], dw.ne0), l.cut(n.In[1], dw.ne0))
})

var _ = emit(graph.LayerNorm, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpLayerNorm, norm(n),
		l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]), l.whole(n.In[2]))
})

var _ = emit(graph.LayerNormBack, rest, func(l *lowering, n *graph.Node) {
	acc := l.start(n)
	call(l, kernels.OpLayerNormBack, normBack(n, acc),
		l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]), l.whole(n.In[2]))
})

var _ = emit(graph.LayerNormGrad, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpLayerNormGrad, norm(n),
		l.whole(n.Out[0]), l.whole(n.Out[1]), l.whole(n.In[0]), l.whole(n.In[1]))
})
