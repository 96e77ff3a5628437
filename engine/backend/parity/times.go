package parity

import "github.com/ggtune/ggtune/engine/graph"

var _ = add(Case{"times", func(b *Builder) graph.ID { return b.G.Times(b.G.GELU(b.X(67, 9)), -1.75) }, 0})
