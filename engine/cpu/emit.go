package cpu

import (
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
)

// A phaseFunc says which part of the work a node belongs to.
type phaseFunc func(g *graph.Graph, n *graph.Node) backend.Phase

// in is the phaseFunc of an operation that always belongs to one.
func in(p backend.Phase) phaseFunc {
	return func(*graph.Graph, *graph.Node) backend.Phase { return p }
}

var rest = in(backend.PhaseRest)

// An emitter is what the processor does for an operation.
type emitter struct {
	calls func(l *lowering, n *graph.Node) // appends the kernel calls; kernels.h lists their arguments
	phase phaseFunc
}

var emitters = map[*graph.Op]emitter{}

// emit registers the emitter of an operation. Each stands in a file named as the operation's.
func emit(op *graph.Op, phase phaseFunc, calls func(l *lowering, n *graph.Node)) *graph.Op {
	emitters[op] = emitter{calls, phase}
	return op
}

// operands sees all that a node gives, then all that it takes, whole: what most kernels want.
func (l *lowering) operands(n *graph.Node) []view { return append(l.all(n.Out), l.all(n.In)...) }

// all sees several values whole.
func (l *lowering) all(ids []graph.ID) []view {
	out := make([]view, len(ids))
	for k, id := range ids {
		out[k] = l.whole(id)
	}
	return out
}
