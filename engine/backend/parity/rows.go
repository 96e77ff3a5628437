package parity

import (
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = add(
	Case{"rows, trained", func(b *Builder) graph.ID {
		return b.G.Add(b.G.GELU(b.X(33, 5)), b.G.Rows(b.Param("w", 33, 9), b.Ints("ids", 8, 0, 3, 8, 8)))
	}, 0},
	Case{"rows, stored", func(b *Builder) graph.ID {
		return b.G.Add(b.G.GELU(b.X(256, 3)), b.G.Rows(b.Weight("w", gguf.Q6_K, 256, 9), b.Ints("ids", 8, 0, 3)))
	}, 0},
	Case{"rows, of an activation", func(b *Builder) graph.ID { return b.G.Rows(b.X(33, 9), b.Ints("ids", 8, 0, 3, 8)) },
		0},
)
