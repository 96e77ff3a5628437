package parity

import "github.com/ggtune/ggtune/engine/graph"

var _ = add(Case{"slice, overlapping", func(b *Builder) graph.ID {
	x := b.X(50, 7)
	return b.G.Add(b.G.Slice(x, 0, 33), b.G.Slice(x, 17, 33))
}, 0})
