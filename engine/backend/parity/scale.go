package parity

import (
	"encoding/binary"
	"math"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = add(
	Case{"scale, onto another gradient", func(b *Builder) graph.ID {
		x := b.X(131, 35)
		return b.G.Scale(x, b.Param("v", 131, 1), graph.None, graph.None, x)
	}, 0},
	Case{"scale by the norms of a pair", func(b *Builder) graph.ID {
		var norms []byte // large enough that no sum of squares comes near 0
		for range 67 {
			norms = binary.LittleEndian.AppendUint32(norms, math.Float32bits(3))
		}
		w, a, up := b.Weight("w", gguf.F32, 131, 67), b.Weight("a", gguf.F32, 131, 5), b.Weight("b", gguf.F32, 5, 67)
		u := b.G.PairNorm(b.bound(graph.Weight, "norms", graph.F32, graph.Matrix(67, 1), norms),
			b.G.Linear(w, a, graph.None, graph.None, 1),
			up, b.G.Linear(b.G.Linear(a, a, graph.None, graph.None, 1), up, graph.None, graph.None, 1), 0.5)
		x := b.X(131, 35)
		y := b.G.Linear(w, x, graph.None, graph.None, 1)
		y = b.G.Linear(up, b.G.Linear(a, x, graph.None, graph.None, 1), graph.None, y, 0.5)
		return b.G.Scale(y, b.Param("m", 67, 1), u, b.Weight("bias", gguf.F32, 67, 1), graph.None)
	}, Rounded},
)
