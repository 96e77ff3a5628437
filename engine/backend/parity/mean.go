package parity

import "github.com/ggtune/ggtune/engine/graph"

var _ = add(
	Case{"mean", func(b *Builder) graph.ID { return b.G.Mean(b.G.GELU(b.X(33, 9)), b.Ints("ends", 2, 3, 9)) }, 0},
	Case{"mean, a run without rows, rows behind the last", func(b *Builder) graph.ID {
		return b.G.Mean(b.X(70, 9), b.Ints("ends", 0, 5, 5, 7))
	}, 0})
