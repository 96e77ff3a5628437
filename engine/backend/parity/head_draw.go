package parity

import (
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
)

// What is drawn near an edge may be another on another device; these numbers are not near one.
var _ = add(
	Case{"head, drawn from, with a pair", func(b *Builder) graph.ID {
		x, u := b.X(32, 3), b.Doubles("u", 0.1, 0.5, 0.9)
		h2 := b.G.Linear(b.Param("a", 32, 3), x, graph.None, graph.None, 0.2)
		return b.G.HeadDraw(x, b.Weight("w", gguf.Q8_0, 32, 300), h2, b.Param("b", 3, 300), u,
			graph.HeadDrawAttr{Scale: 0.75})
	}, Rounded},
	Case{"head, the likeliest", func(b *Builder) graph.ID {
		return b.G.HeadDraw(b.X(32, 3), b.Weight("w", gguf.Q8_0, 32, 300), graph.None, graph.None,
			b.Doubles("u", 0, 0, 0), graph.HeadDrawAttr{Greedy: true, Scale: 1})
	}, 0},
)
