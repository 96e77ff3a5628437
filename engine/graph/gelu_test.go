package graph

import "math"

func geluArg(x float64) float64 { return math.Sqrt(2/math.Pi) * (x + 0.044715*x*x*x) }

var _ = meaning(GELU, func(e *evaluator) {
	for i, x := range e.in(0) {
		e.out(0)[i] = 0.5 * x * (1 + math.Tanh(geluArg(x)))
	}
})

var _ = meaning(GELUBack, func(e *evaluator) {
	for i, x := range e.in(0) {
		th := math.Tanh(geluArg(x))
		e.out(0)[i] = e.in(1)[i] * (0.5*(1+th) + 0.5*x*(1-th*th)*math.Sqrt(2/math.Pi)*(1+3*0.044715*x*x))
	}
})

var _ = differences("gelu", func(g *Graph) ID { return g.GELU(x(g, 5, 2)) })
