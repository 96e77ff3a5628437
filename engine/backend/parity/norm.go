package parity

import "github.com/ggtune/ggtune/engine/graph"

var _ = add(
	Case{"rms_norm, rows", func(b *Builder) graph.ID { return b.G.RMSNorm(b.X(131, 35), b.Param("w", 131, 1), 1e-5) },
		0},
	Case{"rms_norm, heads, onto another gradient", func(b *Builder) graph.ID {
		x := b.X(48, 9)
		return b.G.Add(x, b.G.RMSNorm(x, b.Param("w", 16, 1), 1e-6))
	}, 0},
	Case{"rms_norm without a weight, onto another gradient", func(b *Builder) graph.ID {
		x := b.X(48, 9)
		return b.G.Add(x, b.G.Unit(x, 16, 1e-6))
	}, 0},
	Case{"layer_norm", func(b *Builder) graph.ID {
		return b.G.LayerNorm(b.X(131, 35), b.Param("w", 131, 1), b.Param("b", 131, 1), 1e-5)
	}, 0},
	Case{"layer_norm without bias, onto another gradient", func(b *Builder) graph.ID {
		x := b.X(33, 9)
		return b.G.Add(x, b.G.LayerNorm(x, b.Param("w", 33, 1), graph.None, 1e-5))
	}, 0},
)
