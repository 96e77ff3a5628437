package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
)

func (l *lowering) attention(n *graph.Node) kernels.AttnConstants {
	a := n.Attr.(graph.AttentionAttr)
	return kernels.AttnConstants{Scale: a.Scale, NHead: int64(a.Heads), NKV: int64(a.KVHeads), D: int64(a.HeadDim),
		Fast:          !l.exact,
		Bidirectional: a.Bidirectional, Window: int64(a.Window), Cap: a.Cap, Drop: a.Drop.Rate, Stream: a.Drop.Stream}
}

var _ = emit(graph.Attention, in(backend.PhaseAttention), func(l *lowering, n *graph.Node) {
	call(l, kernels.OpAttn, l.attention(n), l.whole(n.Out[0]), l.whole(n.Out[1]),
		l.whole(n.In[0]), l.whole(n.In[1]), l.whole(n.In[2]), l.flat(n.In[3]), l.whole(n.In[4]), l.whole(n.In[5]))
})

var _ = emit(graph.AttentionSinkGrad, in(backend.PhaseAttention), func(l *lowering, n *graph.Node) {
	call(l, kernels.OpAttnSinkGrad, l.attention(n), append([]view{l.whole(n.Out[0])}, l.all(n.In)...)...)
})

var _ = emit(graph.AttentionDelta, in(backend.PhaseAttention), func(l *lowering, n *graph.Node) {
	call(l, kernels.OpAttnDelta, l.attention(n), l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]))
})

var _ = emit(graph.AttentionBackQ, in(backend.PhaseAttention), func(l *lowering, n *graph.Node) {
	call(l, kernels.OpAttnBackQ, l.attention(n), append(l.all(n.Out), l.keyed(n.In)...)...)
})

var _ = emit(graph.AttentionBackKV, in(backend.PhaseAttention), func(l *lowering, n *graph.Node) {
	call(l, kernels.OpAttnBackKV, l.attention(n), append(l.all(n.Out), l.keyed(n.In)...)...)
})

// keyed sees the inputs of an attention's derivative: those of treed, and the key.
func (l *lowering) keyed(ids []graph.ID) []view {
	last := len(ids) - 1
	return append(l.treed(ids[:last]), l.whole(ids[last]))
}

// treed sees inputs of which the last is a tree, or a table.
func (l *lowering) treed(ids []graph.ID) []view {
	last := len(ids) - 1
	return append(l.all(ids[:last]), l.flat(ids[last]))
}
