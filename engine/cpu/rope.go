package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = emit(graph.Rope, rest, func(l *lowering, n *graph.Node) {
	r := n.Attr.(graph.RopeAttr)
	k := kernels.RopeConstants{FreqBase: r.FreqBase, FreqScale: r.FreqScale, ExtFactor: r.ExtFactor,
		AttnFactor: r.AttnFactor,
		BetaFast:   r.BetaFast, BetaSlow: r.BetaSlow, NHead: int64(r.Heads), D: int64(r.HeadDim), NRot: int64(r.Dim),
		NCtxOrig: int64(r.CtxOrig), Temp: r.Temp, TempLen: int64(r.TempLen), Neox: r.Neox, Inverse: r.Inverse}
	call(l, kernels.OpRope, k, l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]), l.whole(n.In[2]))
})
