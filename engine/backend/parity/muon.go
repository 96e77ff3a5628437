package parity

import "github.com/ggtune/ggtune/engine/graph"

// A matrix that is wide, and one that is tall, whose products go over the other side.
var (
	_ = masters("muon, wide", muonOf(133, 70), Rounded)
	_ = masters("muon, tall", muonOf(41, 90), Rounded)
)

func muonOf(ne0, ne1 int64) func(b *Builder, typ int32) graph.ID {
	return func(b *Builder, typ int32) graph.ID {
		return b.G.Muon(b.Master("x", typ, ne0, ne1), b.State("m", ne0, ne1), b.Input("g", graph.Matrix(ne0, ne1)),
			b.Doubles("constants", 0.7, 0.95, 0.999, 0.1))
	}
}
