package parity

import "github.com/ggtune/ggtune/engine/graph"

var _ = add(Case{"swiglu_oai", func(b *Builder) graph.ID {
	return b.G.SwiGLUOAI(b.X(67, 9), b.Input("u", graph.Matrix(67, 9)), graph.SwiGLUOAIAttr{Alpha: 1.702, Limit: 1.2})
}, 0})
