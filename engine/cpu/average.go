package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

// The kernel reads the numbers in memory as the graph orders them.
var _ = kernels.AverageConstants(graph.AverageConstants{})

var _ = emit(graph.Average, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpAverage, kernels.None{}, append(l.all(n.In), l.whole(n.Out[0]))...)
})
