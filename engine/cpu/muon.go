package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

// The kernels read the numbers in memory as the graph orders them.
var _ = kernels.MuonConstants(graph.MuonConstants{})

var _ = emit(graph.MuonMoment, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpMuonMoment, kernels.None{}, append(l.all(n.In), l.whole(n.Out[0]))...)
})

var _ = emit(graph.MuonUnit, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpMuonUnit, kernels.None{}, append([]view{l.whole(n.Out[0])}, l.all(n.In)...)...)
})

// The product of a matrix with itself over its rows is that of a gradient.
var _ = emit(graph.Gram, rest, func(l *lowering, n *graph.Node) {
	x := l.whole(n.In[0])
	call(l, kernels.OpOuter, kernels.OuterConstants{Scale: 1, Fast: !l.exact}, l.whole(n.Out[0]), x, x)
})

var _ = emit(graph.Muon, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpMuon, kernels.None{}, append(l.all(n.In), l.whole(n.Out[0]))...)
})
