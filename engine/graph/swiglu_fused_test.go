package graph

import "math"

var _ = meaning(SwiGLUFused, func(e *evaluator) {
	w, t := e.dims(0)
	for c := range t {
		for i := range w / 2 {
			g, u := e.in(0)[c*w+i], e.in(0)[c*w+w/2+i]
			e.out(0)[c*w/2+i] = g / (1 + math.Exp(-g)) * u
		}
	}
})

var _ = meaning(SwiGLUFusedBack, func(e *evaluator) {
	w, t := e.dims(0)
	for c := range t {
		for i := range w / 2 {
			g, u, d := e.in(0)[c*w+i], e.in(0)[c*w+w/2+i], e.in(1)[c*w/2+i]
			s := 1 / (1 + math.Exp(-g))
			e.out(0)[c*w+i] = d * u * s * (1 + g*(1-s))
			e.out(0)[c*w+w/2+i] = d * g * s
		}
	}
})

var _ = differences("swiglu of one matrix's halves", func(g *Graph) ID {
	return g.SwiGLUFused(g.Linear(param(g, "w", 5, 6), x(g, 5, 2), None, None, 1))
})
