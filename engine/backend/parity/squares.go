package parity

import "github.com/ggtune/ggtune/engine/graph"

var _ = add(Case{"squares", func(b *Builder) graph.ID { return b.G.Squares(b.Input("g", graph.Matrix(5003, 3))) }, 0})
