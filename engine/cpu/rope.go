package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = emit(graph.Rope, rest, func(l *lowering, n *graph.Node) {
	r := n.Attr.(graph.RopeAttr)
	mode, inverse := int64(0), int64(0)
	if r.Neox {
		mode = 2
	}
	if r.Inverse {
		inverse = 1
	}
	f := []float64{r.FreqBase, r.FreqScale, r.ExtFactor, r.AttnFactor, r.BetaFast, r.BetaSlow}
	i := []int64{int64(r.Heads), int64(r.HeadDim), int64(r.Dim), mode, inverse, int64(r.CtxOrig)}
	pos := l.whole(n.In[1])
	l.call(kernels.OpRope, f, i, l.whole(n.Out[0]), l.whole(n.In[0]), pos, l.whole(n.In[2]))
})
