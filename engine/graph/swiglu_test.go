package graph

import "math"

var _ = meaning(SwiGLU, func(e *evaluator) {
	for i, g := range e.in(0) {
		e.out(0)[i] = g / (1 + math.Exp(-g)) * e.in(1)[i]
	}
})

var _ = meaning(SwiGLUBack, func(e *evaluator) {
	for i, g := range e.in(0) {
		s := 1 / (1 + math.Exp(-g))
		e.out(0)[i] = e.in(2)[i] * e.in(1)[i] * s * (1 + g*(1-s))
		e.out(1)[i] = e.in(2)[i] * g * s
	}
})

var (
	_ = differences("swiglu", func(g *Graph) ID {
		return g.SwiGLU(x(g, 5, 2), g.Linear(param(g, "w", 5, 5), x(g, 5, 2), None, None, 1))
	})
	_ = differences("swiglu of three dimensions", func(g *Graph) ID { return g.SwiGLU(deep(g), g.GELU(deep(g))) })
)
