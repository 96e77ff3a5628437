package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = emit(graph.AdamW8, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpAdamW8, kernels.None{}, append(l.all(n.In), l.whole(n.Out[0]))...)
})
