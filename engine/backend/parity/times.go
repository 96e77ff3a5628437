package parity

import (
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = add(Case{"times", func(b *Builder) graph.ID { return b.G.Times(b.G.GELU(b.X(67, 9)), -1.75) }, 0},
	Case{"times, by a number of the model's", func(b *Builder) graph.ID {
		return b.G.TimesNumber(b.G.GELU(b.X(67, 9)), b.Weight("s", gguf.F32, 1, 1))
	}, 0})
