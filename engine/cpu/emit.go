package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

// emitters turn each graph operation into the kernel calls that do it; kernels.h lists the calls' arguments.
var emitters = map[graph.Op]func(*lowering, *graph.Node){
	graph.OpLinear:          emitLinear,
	graph.OpLinearT:         emitLinearT,
	graph.OpOuter:           emitOuter,
	graph.OpBiasGrad:        emitBiasGrad,
	graph.OpAdd:             emitAdd,
	graph.OpSlice:           emitSlice,
	graph.OpUnslice:         emitUnslice,
	graph.OpRMSNorm:         emitRMSNorm,
	graph.OpRMSNormBack:     emitRMSNormBack,
	graph.OpRMSNormGrad:     emitRMSNormGrad,
	graph.OpLayerNorm:       emitLayerNorm,
	graph.OpLayerNormBack:   emitLayerNormBack,
	graph.OpLayerNormGrad:   emitLayerNormGrad,
	graph.OpRope:            emitRope,
	graph.OpAttention:       emitAttention,
	graph.OpAttentionDelta:  emitAttentionDelta,
	graph.OpAttentionBackQ:  emitAttentionBackQ,
	graph.OpAttentionBackKV: emitAttentionBackKV,
	graph.OpSwiGLU:          emitSwiGLU,
	graph.OpSwiGLUBack:      emitSwiGLUBack,
	graph.OpGELU:            emitGELU,
	graph.OpGELUBack:        emitGELUBack,
	graph.OpDropout:         emitDropout,
	graph.OpRows:            emitRows,
	graph.OpRowsGrad:        emitRowsGrad,
	graph.OpScatter:         emitScatter,
	graph.OpHead:            emitHead,
	graph.OpHeadBack:        emitHeadBack,
	graph.OpHeadGrad:        emitHeadGrad,
}

func emitLinear(l *lowering, n *graph.Node) {
	acc := l.start(n)
	wide, thin := l.joined(n)
	views := []view{l.whole(n.Out[0]), l.operand(wide.In[1]), l.whole(wide.In[0]), l.whole(wide.In[2])}
	l.product(kernels.OpLinear, acc, wide, thin, views)
}

func emitLinearT(l *lowering, n *graph.Node) {
	acc := l.start(n)
	wide, thin := l.joined(n)
	views := []view{l.whole(n.Out[0]), l.operand(wide.In[1]), l.whole(wide.In[0]), absent}
	l.product(kernels.OpLinearT, acc, wide, thin, views)
}

// product emits a product and, in the same call, the one joined with it.
func (l *lowering) product(op kernels.Op, acc int64, wide, thin *graph.Node, views []view) {
	f := []float64{wide.Attr.Scale, 0}
	if thin != nil {
		f[1] = thin.Attr.Scale
		views = append(views, l.operand(thin.In[1]), l.whole(thin.In[0]))
	}
	l.call(op, f, []int64{acc}, views...)
}

func emitOuter(l *lowering, n *graph.Node) {
	l.call(kernels.OpOuter, []float64{n.Attr.Scale}, []int64{1, l.prec.fast()}, l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]))
}

func emitBiasGrad(l *lowering, n *graph.Node) {
	l.call(kernels.OpBiasGrad, nil, nil, l.whole(n.Out[0]), l.whole(n.In[0]))
}

func emitAdd(l *lowering, n *graph.Node) {
	l.call(kernels.OpAdd, []float64{1}, nil, l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]))
}

func emitSlice(l *lowering, n *graph.Node) {
	l.call(kernels.OpCopy, nil, []int64{0}, l.whole(n.Out[0]), l.part(n.In[0], n.Attr.Offset, n.Attr.Width))
}

func emitUnslice(l *lowering, n *graph.Node) {
	if l.start(n) == 0 {
		l.call(kernels.OpZero, nil, nil, l.whole(n.Out[0]))
	}
	dy := l.whole(n.In[0])
	l.call(kernels.OpCopy, nil, []int64{1}, l.part(n.Out[0], n.Attr.Offset, dy.ne0), dy)
}

func emitRMSNorm(l *lowering, n *graph.Node) {
	w := l.whole(n.In[1])
	l.call(kernels.OpRMSNorm, []float64{n.Attr.Eps}, nil, l.runs(n.Out[0], w.ne0), l.runs(n.In[0], w.ne0), w)
}

func emitRMSNormBack(l *lowering, n *graph.Node) {
	acc, w := l.start(n), l.whole(n.In[1])
	l.call(kernels.OpRMSNormBack, []float64{n.Attr.Eps}, []int64{acc},
		l.runs(n.Out[0], w.ne0), l.runs(n.In[0], w.ne0), w, l.runs(n.In[2], w.ne0))
}

func emitRMSNormGrad(l *lowering, n *graph.Node) {
	dw := l.whole(n.Out[0])
	l.call(kernels.OpRMSNormGrad, []float64{n.Attr.Eps}, nil, dw, l.runs(n.In[0], dw.ne0), l.runs(n.In[1], dw.ne0))
}

func emitLayerNorm(l *lowering, n *graph.Node) {
	l.call(kernels.OpLayerNorm, []float64{n.Attr.Eps}, nil,
		l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]), l.whole(n.In[2]))
}

func emitLayerNormBack(l *lowering, n *graph.Node) {
	acc := l.start(n)
	l.call(kernels.OpLayerNormBack, []float64{n.Attr.Eps}, []int64{acc},
		l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]), l.whole(n.In[2]))
}

func emitLayerNormGrad(l *lowering, n *graph.Node) {
	l.call(kernels.OpLayerNormGrad, []float64{n.Attr.Eps}, nil,
		l.whole(n.Out[0]), l.whole(n.Out[1]), l.whole(n.In[0]), l.whole(n.In[1]))
}

func emitRope(l *lowering, n *graph.Node) {
	r := n.Attr.Rope
	mode, inverse := int64(0), int64(0)
	if r.Neox {
		mode = 2
	}
	if n.Attr.Inverse {
		inverse = 1
	}
	f := []float64{r.FreqBase, r.FreqScale, r.ExtFactor, r.AttnFactor, r.BetaFast, r.BetaSlow}
	i := []int64{int64(n.Attr.Heads), int64(n.Attr.HeadDim), int64(r.Dim), mode, inverse, int64(r.CtxOrig)}
	pos := l.whole(n.In[1])
	l.call(kernels.OpRope, f, i, l.whole(n.Out[0]), l.whole(n.In[0]), pos, l.whole(n.In[2]))
}

func (l *lowering) attention(n *graph.Node) ([]float64, []int64) {
	return []float64{n.Attr.Scale}, []int64{int64(n.Attr.Heads), int64(n.Attr.KVHeads), int64(n.Attr.HeadDim), l.prec.fast()}
}

func emitAttention(l *lowering, n *graph.Node) {
	f, i := l.attention(n)
	l.call(kernels.OpAttn, f, i, l.whole(n.Out[0]), l.whole(n.Out[1]),
		l.whole(n.In[0]), l.whole(n.In[1]), l.whole(n.In[2]), l.flat(n.In[3]))
}

func emitAttentionDelta(l *lowering, n *graph.Node) {
	_, i := l.attention(n)
	l.call(kernels.OpAttnDelta, nil, i, l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]))
}

func emitAttentionBackQ(l *lowering, n *graph.Node) {
	f, i := l.attention(n)
	l.call(kernels.OpAttnBackQ, f, i, append(l.all(n.Out), l.treed(n.In)...)...)
}

func emitAttentionBackKV(l *lowering, n *graph.Node) {
	f, i := l.attention(n)
	l.call(kernels.OpAttnBackKV, f, i, append(l.all(n.Out), l.treed(n.In)...)...)
}

// treed sees the inputs of an attention's derivative, of which the last is the tree.
func (l *lowering) treed(ids []graph.ID) []view {
	last := len(ids) - 1
	return append(l.all(ids[:last]), l.flat(ids[last]))
}

func (l *lowering) all(ids []graph.ID) []view {
	out := make([]view, len(ids))
	for k, id := range ids {
		out[k] = l.whole(id)
	}
	return out
}

func emitSwiGLU(l *lowering, n *graph.Node) {
	l.call(kernels.OpSwiGLU, nil, nil, l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]))
}

func emitSwiGLUBack(l *lowering, n *graph.Node) {
	l.call(kernels.OpSwiGLUBack, nil, nil, append(l.all(n.Out), l.all(n.In)...)...)
}

func emitGELU(l *lowering, n *graph.Node) {
	l.call(kernels.OpGELU, nil, nil, l.whole(n.Out[0]), l.whole(n.In[0]))
}

func emitGELUBack(l *lowering, n *graph.Node) {
	l.call(kernels.OpGELUBack, nil, nil, l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]))
}

// The key is written into I[0] when the program is bound.
func emitDropout(l *lowering, n *graph.Node) {
	l.call(kernels.OpDropout, []float64{n.Attr.Rate}, []int64{0, n.Attr.Stream}, l.whole(n.Out[0]), l.whole(n.In[0]))
}

func emitRows(l *lowering, n *graph.Node) {
	l.call(kernels.OpRows, nil, nil, l.whole(n.Out[0]), l.whole(n.In[0]), l.flat(n.In[1]))
}

func emitRowsGrad(l *lowering, n *graph.Node) {
	l.call(kernels.OpRowsAdd, []float64{1}, nil, l.whole(n.Out[0]), l.whole(n.In[0]), l.flat(n.In[1]))
}

func emitScatter(l *lowering, n *graph.Node) {
	if l.start(n) == 0 {
		l.call(kernels.OpZero, nil, nil, l.whole(n.Out[0]))
	}
	l.call(kernels.OpRowsAdd, []float64{1}, nil, l.whole(n.Out[0]), l.whole(n.In[0]), l.flat(n.In[1]))
}

// The head takes a limited number of tokens a call, so that its scratch stays small however long the batch.
func emitHead(l *lowering, n *graph.Node) {
	logp, lse, e, e2 := l.flat(n.Out[0]), l.flat(n.Out[1]), l.whole(n.Out[2]), l.whole(n.Out[3])
	h, w, targets, h2, w2 := l.whole(n.In[0]), l.whole(n.In[1]), l.flat(n.In[2]), l.whole(n.In[3]), l.whole(n.In[4])
	exact, back := 1-l.prec.fast(), n.Attr.WithMean
	chunk := kernels.HeadChunk()
	bytes := kernels.HeadScratchBytes(h.ne0, h2.ne0, w.ne1, min(chunk, h.ne1), back)
	scratch := view{slot: l.newSlot(graph.None, bytes), ne0: (bytes + 3) / 4, ne1: 1, nb1: bytes, typ: kernels.F32}
	for at := int64(0); at < h.ne1; at += chunk {
		c := min(chunk, h.ne1-at)
		views := []view{logp.span(at, c), lse.span(at, c), e.rows(at, c), h.rows(at, c), w, targets.span(at, c),
			h2.rows(at, c), w2, e2.rows(at, c), scratch}
		l.call(kernels.OpHead, nil, []int64{exact}, views...)
		l.call(kernels.OpHeadMerge, nil, []int64{exact}, views...)
	}
}

func emitHeadBack(l *lowering, n *graph.Node) {
	coef, w, targets, e, w2, e2 := n.In[0], n.In[1], n.In[2], n.In[3], n.In[4], n.In[5]
	l.call(kernels.OpHeadBack, nil, nil, l.whole(n.Out[0]), l.whole(e), l.flat(coef), l.whole(w), l.flat(targets),
		l.whole(n.Out[1]), l.whole(e2), l.whole(w2))
}

func emitHeadGrad(l *lowering, n *graph.Node) {
	h, w, targets, lse, coef, h2, w2 := n.In[0], n.In[1], n.In[2], n.In[3], n.In[4], n.In[5], n.In[6]
	l.call(kernels.OpHeadGradW, nil, []int64{1 - l.prec.fast()}, l.whole(n.Out[0]), l.whole(n.Out[1]), l.whole(h), l.whole(w),
		l.flat(targets), l.flat(lse), l.flat(coef), l.whole(h2), l.whole(w2))
}
