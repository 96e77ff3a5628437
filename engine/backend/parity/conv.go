package parity

import "github.com/ggtune/ggtune/engine/graph"

// conv is of 40 tokens: a prompt with two answers, of which one is a single token, and another text.
func conv(b *Builder, taps int64) graph.ID {
	tree := b.Ints("tree", 4, 0, 9, -1, 9, 10, 0, 10, 27, 0, 27, 40, -1)
	return b.G.Conv(b.X(131, 40), b.Param("taps", taps, 131), tree)
}

var _ = add(
	Case{"conv", func(b *Builder) graph.ID { return conv(b, 3) }, 0},
	Case{"conv, many taps", func(b *Builder) graph.ID { return conv(b, graph.MostTaps) }, 0},
	Case{"conv, what is kept", func(b *Builder) graph.ID {
		// Two tokens behind slot 1, into slot 3; one of a text's beginning, into slot 0.
		table := b.Table("table", 1, 2, 2, 1, 3, 1, -1, 0)
		return b.G.ConvNext(b.X(35, 3), b.Param("taps", 4, 35), b.State("kept", 3*35, 4), table)
	}, 0},
)
