package graph

import "math"

// geluOf is the tanh form of GELU and its derivative.
func geluOf(x float64) (y, slope float64) {
	th := math.Tanh(geluArg(x))
	return 0.5 * x * (1 + th), 0.5*(1+th) + 0.5*x*(1-th*th)*math.Sqrt(2/math.Pi)*(1+3*0.044715*x*x)
}

var _ = meaning(GEGLU, func(e *evaluator) {
	for i, g := range e.in(0) {
		y, _ := geluOf(g)
		e.out(0)[i] = y * e.in(1)[i]
	}
})

var _ = meaning(GEGLUBack, func(e *evaluator) {
	for i, g := range e.in(0) {
		y, slope := geluOf(g)
		e.out(0)[i] = e.in(2)[i] * e.in(1)[i] * slope
		e.out(1)[i] = e.in(2)[i] * y
	}
})

var (
	_ = differences("geglu", func(g *Graph) ID {
		return g.GEGLU(x(g, 5, 2), g.Linear(param(g, "w", 5, 5), x(g, 5, 2), None, None, 1))
	})
	_ = differences("geglu of three dimensions", func(g *Graph) ID {
		return g.GEGLU(deep(g), g.SwiGLU(deep(g), deep(g)))
	})
)
