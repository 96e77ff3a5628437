package parity

import "github.com/ggtune/ggtune/engine/graph"

var _ = add(
	Case{"add", func(b *Builder) graph.ID {
		return b.G.Add(b.G.GELU(b.X(37, 5)), b.G.GELU(b.Input("y", graph.Matrix(37, 5))))
	}, 0},
	Case{"add, three dimensions", func(b *Builder) graph.ID {
		s := graph.Shape{13, 3, 4}
		return b.G.Add(b.Input("x", s), b.G.GELU(b.Input("x", s)))
	}, 0},
)
