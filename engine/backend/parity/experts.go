package parity

import (
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
)

// routed is a network of 5 experts of which each token has 2; product gives that of rows with a matrix of each.
func routed(b *Builder, a graph.GatingAttr, embd, ff int64,
	product func(name string, k, n int64, x graph.ID, of graph.Groups, acc graph.ID) graph.ID) graph.ID {
	const experts = 5
	x, g := b.X(embd, 37), b.G
	logits := g.Linear(b.Param("router", embd, experts), x, graph.None, graph.None, 0.1)
	chosen := g.TopK(logits, 2)
	of, w := g.Group(chosen, experts), g.Gating(logits, chosen, a)
	in := g.Gather(x, of)
	gate := product("gate", embd, ff, in, of, graph.None)
	up := product("up", embd, ff, in, of, gate)
	y := product("down", ff, embd, g.Weigh(g.SwiGLU(gate, up), w, of), of, graph.None)
	return g.WeighedBias(b.Param("bias", embd, experts), w, chosen, g.Combine(y, of, x))
}

var _ = add(
	Case{"experts, trained", func(b *Builder) graph.ID {
		return routed(b, graph.GatingAttr{Kind: graph.GateSigmoid, Norm: true, Scale: 1.5}, 19, 13,
			func(name string, k, n int64, x graph.ID, of graph.Groups, acc graph.ID) graph.ID {
				w, bias := b.Params(name, graph.Shape{k, n, 5}), b.Param(name+"_bias", n, 5)
				return b.G.Experts(w, x, bias, of, acc, 0.3)
			})
	}, Rounded},
	Case{"experts, stored", func(b *Builder) graph.ID {
		return routed(b, graph.GatingAttr{Kind: graph.GateSoftmax, Scale: 1}, 256, 96,
			func(name string, k, n int64, x graph.ID, of graph.Groups, acc graph.ID) graph.ID {
				return b.G.Experts(b.Weights(name, gguf.Q8_0, graph.Shape{k, n, 5}), x, graph.None, of, acc, 1)
			})
	}, Rounded},
	Case{"experts, thin pairs beside stored ones", func(b *Builder) graph.ID {
		return routed(b, graph.GatingAttr{Kind: graph.GateSoftmaxChosen, Scale: 1}, 256, 96,
			func(name string, k, n int64, x graph.ID, of graph.Groups, acc graph.ID) graph.ID {
				a := b.G.Experts(b.Params(name+"_a", graph.Shape{k, 3, 5}), x, graph.None, of, graph.None, 0.1)
				y := b.G.Experts(b.Weights(name, gguf.Q8_0, graph.Shape{k, n, 5}), x, graph.None, of, acc, 1)
				return b.G.Experts(b.Params(name+"_b", graph.Shape{3, n, 5}), a, graph.None, of, y, 0.1)
			})
	}, Rounded},
)
