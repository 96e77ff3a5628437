package parity

import "github.com/ggtune/ggtune/engine/graph"

var _ = add(Case{"geglu", func(b *Builder) graph.ID {
	return b.G.GEGLU(b.X(67, 9), b.Input("u", graph.Matrix(67, 9)))
}, 0})
