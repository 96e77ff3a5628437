package parity

import "github.com/ggtune/ggtune/engine/graph"

var _ = add(
	Case{"swiglu of one matrix's halves", func(b *Builder) graph.ID { return b.G.SwiGLUFused(b.X(134, 9)) }, 0},
	Case{"swiglu of halves of 48", func(b *Builder) graph.ID { return b.G.SwiGLUFused(b.X(96, 24)) }, 0},
)
