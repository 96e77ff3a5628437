package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = emit(graph.AttentionNext, in(backend.PhaseAttention), func(l *lowering, n *graph.Node) {
	k, kept, table := l.attention(n), l.whole(n.In[3]), l.flat(n.In[4])
	k.Fast = kept.typ == kernels.BF16
	call(l, kernels.OpAttnKeep, k, kept, l.whole(n.In[1]), l.whole(n.In[2]), table)
	call(l, kernels.OpAttnNext, k, l.whole(n.Out[0]), l.whole(n.In[0]), kept, table, l.whole(n.In[5]))
})

// Kept says how keys and values are kept.
func (b *Backend) Kept(a graph.AttentionAttr, exact bool) backend.Kept {
	return backend.Kept{Type: int32(kernels.KeptType(!exact)),
		Page: kernels.KeptPage(int64(a.HeadDim), int64(a.KVHeads)), Tokens: kernels.KeptTokens(int64(a.HeadDim))}
}
