package parity

import "github.com/ggtune/ggtune/engine/graph"

var _ = add(Case{"average", func(b *Builder) graph.ID {
	return b.G.Average(b.State("a", 1003, 3), b.Input("x", graph.Matrix(1003, 3)), b.Doubles("constants", 0.3))
}, 0})
