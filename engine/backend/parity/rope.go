package parity

import (
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
)

func rope(b *Builder, factors graph.ID, p graph.Rotary) graph.ID {
	return b.G.Rope(b.X(66, 5), b.Ints("pos", 0, 3, 500, 17, 499), factors, 3, 22, p)
}

var _ = add(
	Case{"rope, neighbours", func(b *Builder) graph.ID {
		return rope(b, graph.None, graph.Rotary{FreqBase: 1e4, FreqScale: 1, AttnFactor: 1, Dim: 22})
	}, 0},
	Case{"rope, halves of a part, factors", func(b *Builder) graph.ID {
		p := graph.Rotary{FreqBase: 5e5, FreqScale: 1, AttnFactor: 1, Dim: 20, Neox: true}
		return rope(b, b.Weight("factors", gguf.F32, 10, 1), p)
	}, 0},
	Case{"rope, YaRN", func(b *Builder) graph.ID {
		return rope(b, graph.None,
			graph.Rotary{FreqBase: 1e4, FreqScale: 0.25, ExtFactor: 1, AttnFactor: 1, BetaFast: 32, BetaSlow: 1,
				Dim: 22, Neox: true, CtxOrig: 4096})
	}, 0},
	Case{"rope of a part, a temperature by position", func(b *Builder) graph.ID {
		return rope(b, graph.None,
			graph.Rotary{FreqBase: 1e4, FreqScale: 1, AttnFactor: 1, Dim: 16, Temp: 0.1, TempLen: 16})
	}, 0},
)
