package parity

import "github.com/ggtune/ggtune/engine/graph"

var _ = add(
	Case{"gate", func(b *Builder) graph.ID { return b.G.Gate(b.G.GELU(b.X(33, 5)), b.Ints("on", 1, 0, 0, 2, 1)) }, 0})
