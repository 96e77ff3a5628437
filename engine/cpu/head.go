package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
)

// The head takes a limited number of tokens a call, so that its scratch stays small however long the batch.
var _ = emit(graph.Head, in(backend.PhaseHead), func(l *lowering, n *graph.Node) {
	logp, lse, e, e2 := l.flat(n.Out[0]), l.flat(n.Out[1]), l.whole(n.Out[2]), l.whole(n.Out[3])
	entropy, d, d2 := l.optional(n.Out[4]), l.whole(n.Out[5]), l.whole(n.Out[6])
	h, w, targets, h2, w2 := l.whole(n.In[0]), l.whole(n.In[1]), l.flat(n.In[2]), l.whole(n.In[3]), l.whole(n.In[4])
	attr := n.Attr.(graph.HeadAttr)
	named, per := l.whole(n.In[2]).ne0, l.whole(n.Out[0]).ne0
	chunk := kernels.HeadChunk()
	scratch := l.scratch(kernels.HeadScratchBytes(h.ne0, h2.ne0, w.ne1, min(chunk, h.ne1), per, attr.WithMean,
		attr.WithEntropy))
	for at := int64(0); at < h.ne1; at += chunk {
		c := min(chunk, h.ne1-at)
		views := []view{logp.span(at*per, c*per), lse.span(at, c), e.rows(at, c), h.rows(at, c), w,
			targets.span(at*named, c*named), h2.rows(at, c), w2, e2.rows(at, c), scratch, entropy.span(at, c),
			d.rows(at, c), d2.rows(at, c)}
		call(l, kernels.OpHead, l.head(attr), views...)
		call(l, kernels.OpHeadMerge, l.head(attr), views...)
	}
})

// head gives the kernels' constants.
func (l *lowering) head(a graph.HeadAttr) kernels.HeadConstants {
	return kernels.HeadConstants{Exact: l.exact, Rest: a.WithRest, Entropy: a.WithEntropy, Scale: a.Scale,
		Cap: a.Cap}
}

// scratch is a work area of the calls that follow.
func (l *lowering) scratch(bytes int64) view {
	return view{slot: l.newSlot(graph.None, bytes), ne0: (bytes + 3) / 4, ne1: 1, nb1: bytes, typ: kernels.F32}
}

var _ = emit(graph.HeadBack, in(backend.PhaseHead), func(l *lowering, n *graph.Node) {
	coef, w, targets, e, w2, e2 := n.In[0], n.In[1], n.In[2], n.In[3], n.In[4], n.In[5]
	call(l, kernels.OpHeadBack, l.head(n.Attr.(graph.HeadAttr)), l.whole(n.Out[0]), l.whole(e), l.optional(coef),
		l.whole(w), l.flat(targets), l.whole(n.Out[1]), l.whole(e2), l.whole(w2), l.optional(n.In[6]),
		l.optional(n.In[7]), l.whole(n.In[8]), l.whole(n.In[9]), l.optional(n.In[10]))
})

var _ = emit(graph.HeadGrad, in(backend.PhaseHead), func(l *lowering, n *graph.Node) {
	h, w, targets, lse, coef, h2, w2 := n.In[0], n.In[1], n.In[2], n.In[3], n.In[4], n.In[5], n.In[6]
	call(l, kernels.OpHeadGradW, l.head(n.Attr.(graph.HeadAttr)), l.whole(n.Out[0]), l.whole(n.Out[1]), l.whole(h),
		l.whole(w), l.flat(targets), l.flat(lse), l.optional(coef), l.whole(h2), l.whole(w2), l.optional(n.In[7]),
		l.optional(n.In[8]), l.optional(n.In[9]))
})

// optional is flat of a value that may be absent.
func (l *lowering) optional(id graph.ID) view {
	if id == graph.None {
		return absent
	}
	return l.flat(id)
}

var _ = emit(graph.HeadTop, in(backend.PhaseHead), func(l *lowering, n *graph.Node) {
	out, h, w, h2, w2 := l.flat(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]), l.whole(n.In[2]), l.whole(n.In[3])
	a, chunk := n.Attr.(graph.HeadTopAttr), kernels.HeadChunk()
	many, constants := a.N, kernels.HeadTopConstants{Exact: l.exact, Scale: a.Scale, Cap: a.Cap}
	scratch := l.scratch(kernels.HeadTopScratchBytes(w.ne1, min(chunk, h.ne1), many))
	for at := int64(0); at < h.ne1; at += chunk {
		c := min(chunk, h.ne1-at)
		views := []view{out.span(2*at*many, 2*c*many), h.rows(at, c), w, h2.rows(at, c), w2, scratch}
		call(l, kernels.OpHeadTop, constants, views...)
		call(l, kernels.OpHeadTopMerge, constants, views...)
	}
})
