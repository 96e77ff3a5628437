package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
)

func (l *lowering) attention(n *graph.Node) ([]float64, []int64) {
	a := n.Attr.(graph.AttentionAttr)
	return []float64{a.Scale}, []int64{int64(a.Heads), int64(a.KVHeads), int64(a.HeadDim), l.prec.fast()}
}

var _ = emit(graph.Attention, in(backend.PhaseAttention), func(l *lowering, n *graph.Node) {
	f, i := l.attention(n)
	l.call(kernels.OpAttn, f, i, l.whole(n.Out[0]), l.whole(n.Out[1]),
		l.whole(n.In[0]), l.whole(n.In[1]), l.whole(n.In[2]), l.flat(n.In[3]))
})

var _ = emit(graph.AttentionDelta, in(backend.PhaseAttention), func(l *lowering, n *graph.Node) {
	_, i := l.attention(n)
	l.call(kernels.OpAttnDelta, nil, i, l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]))
})

var _ = emit(graph.AttentionBackQ, in(backend.PhaseAttention), func(l *lowering, n *graph.Node) {
	f, i := l.attention(n)
	l.call(kernels.OpAttnBackQ, f, i, append(l.all(n.Out), l.treed(n.In)...)...)
})

var _ = emit(graph.AttentionBackKV, in(backend.PhaseAttention), func(l *lowering, n *graph.Node) {
	f, i := l.attention(n)
	l.call(kernels.OpAttnBackKV, f, i, append(l.all(n.Out), l.treed(n.In)...)...)
})

// treed sees the inputs of an attention's derivative, of which the last is the tree.
func (l *lowering) treed(ids []graph.ID) []view {
	last := len(ids) - 1
	return append(l.all(ids[:last]), l.flat(ids[last]))
}
