package parity

import "github.com/ggtune/ggtune/engine/graph"

var _ = add(Case{"mul", func(b *Builder) graph.ID { return b.G.Mul(b.X(67, 9), b.Input("b", graph.Matrix(67, 9))) }, 0})
