package parity

import (
	"fmt"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
	"github.com/ggtune/ggtune/engine/synth"
)

var _ = add(
	Case{"linear, odd sizes, bias, acc", func(b *Builder) graph.ID {
		x := b.X(67, 13)
		return b.G.Linear(b.Param("w", 67, 67), x, b.Param("bias", 67, 1), x, -0.37)
	}, Rounded},
	Case{"linear, one token", func(b *Builder) graph.ID {
		return b.G.Linear(b.Param("w", 40, 33), b.X(40, 1), graph.None, graph.None, 1)
	}, Rounded},
	Case{"linear, a thin pair beside a wide weight", func(b *Builder) graph.ID {
		x := b.X(256, 21)
		a := b.G.Linear(b.Param("a", 256, 5), x, graph.None, graph.None, 1)
		y := b.G.Linear(b.Weight("w", gguf.Q8_0, 256, 96), x, graph.None, graph.None, 1)
		return b.G.Linear(b.Param("b", 5, 96), a, graph.None, y, 0.5)
	}, Rounded},
)

// Every storage type of weights.
var _ = func() bool {
	for _, typ := range gguf.Types() {
		if !synth.HoldsWeights(typ) {
			continue
		}
		add(Case{fmt.Sprintf("linear, %v", typ), func(b *Builder) graph.ID {
			return b.G.Linear(b.Weight("w", typ, 512, 37), b.X(512, 15), graph.None, graph.None, 1)
		}, Rounded})
	}
	return true
}()
