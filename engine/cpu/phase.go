package cpu

import (
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
)

func phaseOf(g *graph.Graph, n *graph.Node) backend.Phase {
	switch n.Op {
	case graph.OpAttention, graph.OpAttentionDelta, graph.OpAttentionBackQ, graph.OpAttentionBackKV:
		return backend.PhaseAttention
	case graph.OpHead, graph.OpHeadBack, graph.OpHeadGrad:
		return backend.PhaseHead
	case graph.OpLinear, graph.OpLinearT:
		switch {
		case g.Value(n.In[0]).Delta:
			return backend.PhaseAdapter
		case n.Op == graph.OpLinear:
			return backend.PhaseLinearForward
		}
		return backend.PhaseLinearBackward
	case graph.OpOuter:
		if g.Value(n.Out[0]).Delta {
			return backend.PhaseAdapter
		}
		return backend.PhaseLinearBackward
	}
	return backend.PhaseRest
}
