package parity

import "github.com/ggtune/ggtune/engine/graph"

var _ = add(Case{"softcap", func(b *Builder) graph.ID { return b.G.SoftCap(b.X(67, 9), 1.5) }, 0})
