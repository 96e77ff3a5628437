package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

// The kernels read the numbers in memory as the graph orders them.
var _ = kernels.AdafactorConstants(graph.AdafactorConstants{})

var _ = emit(graph.AdafactorMoments, rest, func(l *lowering, n *graph.Node) {
	in, none := l.all(n.In), kernels.None{}
	call(l, kernels.OpAdafactorRows, none, in[0], in[2], in[3])
	call(l, kernels.OpAdafactorColumns, none, in[1], in[2], in[3])
	call(l, kernels.OpAdafactorSquares, none, append([]view{l.whole(n.Out[0])}, in...)...)
})

var _ = emit(graph.Adafactor, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpAdafactor, kernels.None{}, append(l.all(n.In), l.whole(n.Out[0]))...)
})
