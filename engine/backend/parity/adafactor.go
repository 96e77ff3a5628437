package parity

import "github.com/ggtune/ggtune/engine/graph"

var _ = masters("adafactor", func(b *Builder, typ int32) graph.ID {
	return b.G.Adafactor(b.Master("x", typ, 133, 70), b.State("rows", 1, 70), b.State("columns", 133, 1),
		b.Input("g", graph.Matrix(133, 70)), b.Doubles("constants", 0.7, 0.9, 1e-30, 0.999, 0.1, 0.5))
}, 0)

var _ = add(Case{"adafactor of a vector", func(b *Builder) graph.ID {
	return b.G.Adafactor(b.Master("x", graph.F32, 77, 1), b.State("rows", 1, 1), b.State("columns", 77, 1),
		b.Input("g", graph.Matrix(77, 1)), b.Doubles("constants", 0.7, 0, 1e-30, 1, 0.1, 1))
}, 0})
