package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = emit(graph.Mul, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpMul, kernels.None{}, l.operands(n)...)
})
