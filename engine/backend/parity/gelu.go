package parity

import "github.com/ggtune/ggtune/engine/graph"

var _ = add(Case{"gelu", func(b *Builder) graph.ID { return b.G.GELU(b.X(67, 9)) }, 0})
