package parity

import "github.com/ggtune/ggtune/engine/graph"

// The numbers of a page are those of the processor, of keys and values kept in F32: 2 for each of 2 heads of 20
// elements, padded to 32, and 64 tokens.
var _ = add(Case{Name: "attention to what is kept", Build: func(b *Builder) graph.ID {
	a := graph.AttentionAttr{Heads: 4, KVHeads: 2, HeadDim: 20, Scale: 0.25}
	kept := b.State("kept", 2*2*32*64, 3)
	// Two tokens of a text of 65 in pages 2 and 0, then one of a text behind it, in page 1.
	table := b.Table("table", 1, 3, 2, 3, 0, 63, 0, 64, 1, 0, -1, 65, 0, 0, 1, 2, 2, 0, 1)
	return b.G.AttentionNext(b.Input("q", graph.Matrix(80, 3)), b.Input("k", graph.Matrix(40, 3)),
		b.Input("v", graph.Matrix(40, 3)), kept, table, b.Param("sinks", 4, 1), a)
}})
