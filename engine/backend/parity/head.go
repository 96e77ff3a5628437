package parity

import (
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = add(
	Case{"head, trained, with a pair", func(b *Builder) graph.ID {
		x := b.X(33, 5)
		h2 := b.G.Linear(b.Param("a", 33, 3), x, graph.None, graph.None, 0.2)
		targets := b.Ints("targets", 0, 299, 7, 7, 150)
		logp, _ := b.G.Head(b.G.RMSNorm(x, b.Weight("n", gguf.F32, 33, 1), 1e-5), b.Param("w", 33, 300), targets, h2,
			b.Param("b", 3, 300), graph.HeadAttr{WithMean: true, Scale: 0.75})
		return logp
	}, Rounded},
	Case{"head, stored", func(b *Builder) graph.ID {
		logp, _ := b.G.Head(b.X(64, 3), b.Weight("w", gguf.Q8_0, 64, 1500), b.Ints("targets", 0, 1499, 700),
			graph.None, graph.None, graph.HeadAttr{WithMean: true, Scale: 1})
		return logp
	}, Rounded},
	Case{"head with its entropy, trained, with a pair", func(b *Builder) graph.ID {
		x := b.X(33, 5)
		h2 := b.G.Linear(b.Param("a", 33, 3), x, graph.None, graph.None, 0.2)
		targets := b.Ints("targets", 0, 299, 7, 7, 150)
		return b.G.SwiGLU(b.G.Head(b.G.RMSNorm(x, b.Weight("n", gguf.F32, 33, 1), 1e-5), b.Param("w", 33, 300),
			targets, h2, b.Param("b", 3, 300), graph.HeadAttr{WithMean: true, WithEntropy: true, Scale: 0.75}))
	}, Rounded},
	Case{"entropy, stored", func(b *Builder) graph.ID {
		_, entropy := b.G.Head(b.X(64, 3), b.Weight("w", gguf.Q8_0, 64, 1500), b.Ints("targets", 0, 1499, 700),
			graph.None, graph.None, graph.HeadAttr{WithMean: true, WithEntropy: true, Scale: 1})
		return entropy
	}, Rounded},
	Case{"head of several targets and the rest, trained, with a pair", func(b *Builder) graph.ID {
		x := b.X(33, 2)
		h2 := b.G.Linear(b.Param("a", 33, 3), x, graph.None, graph.None, 0.2)
		logp, _ := b.G.Head(b.G.RMSNorm(x, b.Weight("n", gguf.F32, 33, 1), 1e-5), b.Param("w", 33, 300),
			b.Table("targets", 3, 0, 299, 7, 8, 150, 1), h2, b.Param("b", 3, 300),
			graph.HeadAttr{WithMean: true, WithRest: true, Scale: 1})
		return logp
	}, Rounded},
	Case{"head with its entropy, logits bounded, trained, with a pair", func(b *Builder) graph.ID {
		x := b.X(33, 5)
		h2 := b.G.Linear(b.Param("a", 33, 3), x, graph.None, graph.None, 0.2)
		targets := b.Ints("targets", 0, 299, 7, 7, 150)
		return b.G.SwiGLU(b.G.Head(b.G.RMSNorm(x, b.Weight("n", gguf.F32, 33, 1), 1e-5), b.Param("w", 33, 300),
			targets, h2, b.Param("b", 3, 300),
			graph.HeadAttr{WithMean: true, WithEntropy: true, Scale: 0.75, Cap: 1.5}))
	}, Rounded},
	Case{"largest logits, bounded", func(b *Builder) graph.ID {
		top := b.G.HeadTop(b.X(64, 3), b.Weight("w", gguf.Q8_0, 64, 1500), graph.None, graph.None,
			graph.HeadTopAttr{N: 20, Scale: 1, Cap: 2})
		return b.G.Slice(top, 20, 20)
	}, Rounded},
	// Of the largest logits only the log-probabilities are compared: two that are nearly alike may change places.
	Case{"largest logits, stored", func(b *Builder) graph.ID {
		top := b.G.HeadTop(b.X(64, 3), b.Weight("w", gguf.Q8_0, 64, 1500), graph.None, graph.None,
			graph.HeadTopAttr{N: 20, Scale: 1})
		return b.G.Slice(top, 20, 20)
	}, Rounded},
	Case{"largest logits, with a pair", func(b *Builder) graph.ID {
		x := b.X(33, 3)
		h2 := b.G.Linear(b.Param("a", 33, 3), x, graph.None, graph.None, 0.2)
		top := b.G.HeadTop(x, b.Weight("w", gguf.F32, 33, 300), h2, b.Param("b", 3, 300),
			graph.HeadTopAttr{N: 7, Scale: 0.5})
		return b.G.Slice(top, 7, 7)
	}, Rounded},
)
