package parity

import "github.com/ggtune/ggtune/engine/graph"

var _ = masters("lion", func(b *Builder, typ int32) graph.ID {
	g := b.Input("g", graph.Matrix(1003, 3))
	k := b.Doubles("constants", 0.7, 0.9, 0.99, 0.999, 0.1)
	return b.G.Lion(b.Master("x", typ, 1003, 3), b.State("m", 1003, 3), g, k)
}, 0)
