package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

func eps(n *graph.Node) []float64 { return []float64{n.Attr.(graph.NormAttr).Eps} }

var _ = emit(graph.RMSNorm, rest, func(l *lowering, n *graph.Node) {
	w := l.whole(n.In[1])
	l.call(kernels.OpRMSNorm, eps(n), nil, l.runs(n.Out[0], w.ne0), l.runs(n.In[0], w.ne0), w)
})

var _ = emit(graph.RMSNormBack, rest, func(l *lowering, n *graph.Node) {
	acc, w := l.start(n), l.whole(n.In[1])
	l.call(kernels.OpRMSNormBack, eps(n), []int64{acc},
		l.runs(n.Out[0], w.ne0), l.runs(n.In[0], w.ne0), w, l.runs(n.In[2], w.ne0))
})

var _ = emit(graph.RMSNormGrad, rest, func(l *lowering, n *graph.Node) {
	dw := l.whole(n.Out[0])
	l.call(kernels.OpRMSNormGrad, eps(n), nil, dw, l.runs(n.In[0], dw.ne0), l.runs(n.In[1], dw.ne0))
})

var _ = emit(graph.LayerNorm, rest, func(l *lowering, n *graph.Node) {
	l.call(kernels.OpLayerNorm, eps(n), nil,
		l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]), l.whole(n.In[2]))
})

var _ = emit(graph.LayerNormBack, rest, func(l *lowering, n *graph.Node) {
	acc := l.start(n)
	l.call(kernels.OpLayerNormBack, eps(n), []int64{acc},
		l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]), l.whole(n.In[2]))
})

var _ = emit(graph.LayerNormGrad, rest, func(l *lowering, n *graph.Node) {
	l.call(kernels.OpLayerNormGrad, eps(n), nil,
		l.whole(n.Out[0]), l.whole(n.Out[1]), l.whole(n.In[0]), l.whole(n.In[1]))
})
