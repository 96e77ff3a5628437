package parity

import (
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = add(
	Case{"head, trained, with a pair", func(b *Builder) graph.ID {
		x := b.X(33, 5)
		h2 := b.G.Linear(b.Param("a", 33, 3), x, graph.None, graph.None, 0.2)
		targets := b.Ints("targets", 0, 299, 7, 7, 150)
		return b.G.Head(b.G.RMSNorm(x, b.Weight("n", gguf.F32, 33, 1), 1e-5), b.Param("w", 33, 300), targets, h2,
			b.Param("b", 3, 300), true)
	}, Rounded},
	Case{"head, stored", func(b *Builder) graph.ID {
		return b.G.Head(b.X(64, 3), b.Weight("w", gguf.Q8_0, 64, 1500), b.Ints("targets", 0, 1499, 700), graph.None,
			graph.None, true)
	}, Rounded},
)
