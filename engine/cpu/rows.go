package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = emit(graph.Rows, rest, func(l *lowering, n *graph.Node) {
	l.call(kernels.OpRows, nil, nil, l.whole(n.Out[0]), l.whole(n.In[0]), l.flat(n.In[1]))
})

var _ = emit(graph.RowsGrad, rest, func(l *lowering, n *graph.Node) {
	l.call(kernels.OpRowsAdd, []float64{1}, nil, l.whole(n.Out[0]), l.whole(n.In[0]), l.flat(n.In[1]))
})

var _ = emit(graph.Scatter, rest, func(l *lowering, n *graph.Node) {
	if l.start(n) == 0 {
		l.call(kernels.OpZero, nil, nil, l.whole(n.Out[0]))
	}
	l.call(kernels.OpRowsAdd, []float64{1}, nil, l.whole(n.Out[0]), l.whole(n.In[0]), l.flat(n.In[1]))
})
