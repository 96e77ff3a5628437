package parity

import "github.com/ggtune/ggtune/engine/graph"

// attention is of 70 tokens: two rows, the first with two answers to one prompt.
func attention(b *Builder, a graph.AttentionAttr) graph.ID { return sunkAttention(b, graph.None, a) }

func sunkAttention(b *Builder, sinks graph.ID, a graph.AttentionAttr) graph.ID {
	q, k := int64(a.Heads*a.HeadDim), int64(a.KVHeads*a.HeadDim)
	tree := b.Ints("tree", 4, 0, 21, -1, 21, 40, 0, 40, 57, 0, 57, 70, -1)
	key := graph.None
	if a.Drop.Rate > 0 {
		key = b.Key("key", 3<<40)
	}
	return b.G.Attention(b.X(q, 70), b.Input("k", graph.Matrix(k, 70)), b.Input("v", graph.Matrix(k, 70)), tree, sinks,
		key, a)
}

var _ = add(
	Case{"attention", func(b *Builder) graph.ID {
		return attention(b, graph.AttentionAttr{Heads: 4, KVHeads: 4, HeadDim: 32, Scale: 0.2})
	}, Rounded},
	Case{"attention, groups, odd length", func(b *Builder) graph.ID {
		return attention(b, graph.AttentionAttr{Heads: 6, KVHeads: 2, HeadDim: 33, Scale: 0.15})
	}, Rounded},
	Case{"attention, bidirectional", func(b *Builder) graph.ID {
		return attention(b, graph.AttentionAttr{Heads: 4, KVHeads: 2, HeadDim: 32, Scale: 0.2, Bidirectional: true})
	}, Rounded},
	Case{"attention, a window over branches", func(b *Builder) graph.ID {
		return attention(b, graph.AttentionAttr{Heads: 4, KVHeads: 2, HeadDim: 32, Scale: 0.2, Window: 18})
	}, Rounded},
	Case{"attention, a window both ways", func(b *Builder) graph.ID {
		return attention(b, graph.AttentionAttr{Heads: 4, KVHeads: 2, HeadDim: 32, Scale: 0.2, Window: 9,
			Bidirectional: true})
	}, Rounded},
	Case{"attention, a window, scores bounded", func(b *Builder) graph.ID {
		return attention(b, graph.AttentionAttr{Heads: 4, KVHeads: 2, HeadDim: 32, Scale: 0.4, Window: 9, Cap: 1.5})
	}, Rounded},
	Case{"attention, sinks", func(b *Builder) graph.ID {
		return sunkAttention(b, b.Param("sinks", 4, 1),
			graph.AttentionAttr{Heads: 4, KVHeads: 2, HeadDim: 32, Scale: 0.3, Window: 18})
	}, Rounded},
	Case{"attention, dropout", func(b *Builder) graph.ID {
		return attention(b, graph.AttentionAttr{Heads: 4, KVHeads: 2, HeadDim: 32, Scale: 0.2,
			Drop: graph.DropoutAttr{Rate: 0.2, Stream: 5}})
	}, Rounded},
	Case{"attention, dropout, sinks, a window", func(b *Builder) graph.ID {
		return sunkAttention(b, b.Param("sinks", 4, 1),
			graph.AttentionAttr{Heads: 4, KVHeads: 2, HeadDim: 32, Scale: 0.3, Window: 18,
				Drop: graph.DropoutAttr{Rate: 0.1, Stream: 1}})
	}, Rounded},
	Case{"attention, long heads", func(b *Builder) graph.ID {
		return attention(b, graph.AttentionAttr{Heads: 2, KVHeads: 1, HeadDim: 200, Scale: 0.07})
	}, Rounded},
)
