package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
)

// adapterPhase is that of operations which only what stands beside weights has.
func adapterPhase(*graph.Graph, *graph.Node) backend.Phase { return backend.PhaseAdapter }

var _ = emit(graph.Scale, adapterPhase, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpScale, kernels.ScaleConstants{Acc: l.start(n)}, l.whole(n.Out[0]), l.whole(n.In[0]),
		l.whole(n.In[1]), l.whole(n.In[2]), l.whole(n.In[3]))
})

var _ = emit(graph.ScaleGrad, adapterPhase, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpScaleGrad, kernels.None{}, l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]),
		l.whole(n.In[2]))
})

var _ = emit(graph.PairNorm, adapterPhase, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpPairNorm, kernels.PairNormConstants{Scale: n.Attr.(graph.PairNormAttr).Scale},
		l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]), l.whole(n.In[2]), l.whole(n.In[3]))
})
