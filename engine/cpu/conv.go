package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

// convolution emits calls of a kernel whose last argument is a tree or a table.
func convolution(k kernels.Kernel[kernels.None]) func(l *lowering, n *graph.Node) {
	return func(l *lowering, n *graph.Node) {
		call(l, k, kernels.None{}, append(l.all(n.Out), l.treed(n.In)...)...)
	}
}

var (
	_ = emit(graph.Conv, rest, convolution(kernels.OpConv))
	_ = emit(graph.ConvBack, rest, convolution(kernels.OpConvBack))
	_ = emit(graph.ConvGrad, rest, convolution(kernels.OpConvGrad))
	_ = emit(graph.ConvNext, rest, convolution(kernels.OpConvNext))
)
