package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
)

// A limited number of tokens a call, as in Head.
var _ = emit(graph.HeadDraw, in(backend.PhaseHead), func(l *lowering, n *graph.Node) {
	out, h, w, h2, w2 := l.flat(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]), l.whole(n.In[2]), l.whole(n.In[3])
	u, a, chunk := l.whole(n.In[4]), n.Attr.(graph.HeadDrawAttr), kernels.HeadChunk()
	constants := kernels.HeadDrawConstants{Exact: l.exact, Greedy: a.Greedy, Scale: a.Scale, Cap: a.Cap}
	scratch := l.scratch(kernels.HeadDrawScratchBytes(h.ne0, h2.ne0, w.ne1, min(chunk, h.ne1)))
	for at := int64(0); at < h.ne1; at += chunk {
		c := min(chunk, h.ne1-at)
		by := u
		by.shift, by.ne0, by.nb1 = by.shift+8*at, c, 8*c
		views := []view{out.span(3*at, 3*c), h.rows(at, c), w, h2.rows(at, c), w2, scratch, by}
		call(l, kernels.OpHeadDraw, constants, views...)
		call(l, kernels.OpHeadDrawMerge, constants, views...)
	}
})
