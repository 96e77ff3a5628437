package parity

import "github.com/ggtune/ggtune/engine/graph"

var _ = masters("adamw8", func(b *Builder, typ int32) graph.ID {
	return b.G.AdamW8(graph.AdamW8Inputs{X: b.Master("x", typ, 253, 5), M: b.Codes("m", 64, 5), V: b.Codes("v", 64, 5),
		MostM: b.State("most m", 1, 5), MostV: b.State("most v", 1, 5), Gradient: b.Input("g", graph.Matrix(253, 5)),
		Constants: b.Doubles("constants", 0.7, 0.9, 0.99, 0.999, 0.1, 0.3, 1e-8), Tables: b.Rising("tables", 256, 2)})
}, 0)
