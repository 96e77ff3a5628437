package engine

import (
	"strings"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/graph"
)

// A Phase is a part of the work that a profile tells apart.
type Phase uint8

const (
	PhaseRest           Phase = iota // norms, activations, positions, sums
	PhaseLinearForward               // products with the model's weights
	PhaseLinearBackward              // products with their transposes, and their gradients in full training
	PhaseAttention
	PhaseHead    // the output head and the softmax, both ways
	PhaseAdapter // products with LoRA pairs, both ways
	phaseEnd
)

func (p Phase) String() string {
	return [phaseEnd]string{"rest", "linear forward", "linear backward", "attention", "output head", "adapter"}[p]
}

// Phases lists all of them.
func Phases() []Phase {
	return []Phase{PhaseLinearForward, PhaseLinearBackward, PhaseAttention, PhaseHead, PhaseAdapter, PhaseRest}
}

func phaseOf(g *graph.Graph, n *graph.Node) Phase {
	switch n.Op {
	case graph.OpAttention, graph.OpAttentionDelta, graph.OpAttentionBackQ, graph.OpAttentionBackKV:
		return PhaseAttention
	case graph.OpHead, graph.OpHeadBack, graph.OpHeadGrad:
		return PhaseHead
	case graph.OpLinear, graph.OpLinearT:
		switch {
		case isPair(g.Value(n.In[0]).Name):
			return PhaseAdapter
		case n.Op == graph.OpLinear:
			return PhaseLinearForward
		}
		return PhaseLinearBackward
	case graph.OpOuter:
		if isPair(g.Value(n.Out[0]).Name) {
			return PhaseAdapter
		}
		return PhaseLinearBackward
	}
	return PhaseRest
}

// isPair says whether a value is half of a LoRA pair.
func isPair(name string) bool {
	return strings.HasSuffix(name, arch.LoraA) || strings.HasSuffix(name, arch.LoraB)
}
