package parity

import "github.com/ggtune/ggtune/engine/graph"

// The masks are the same on every device.
var _ = add(
	Case{"dropout", func(b *Builder) graph.ID { return b.G.Dropout(b.X(131, 9), b.Key("key", -5<<33), 0.25, 3) }, 0})
