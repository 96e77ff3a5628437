package graph

import (
	"math"
	"testing"
)

var _ = meaning(SwiGLUOAI, func(e *evaluator) {
	a := e.n.Attr.(SwiGLUOAIAttr)
	for i, g := range e.in(0) {
		x, y := min(g, a.Limit), max(-a.Limit, min(e.in(1)[i], a.Limit))
		e.out(0)[i] = x / (1 + math.Exp(-a.Alpha*x)) * (y + 1)
	}
})

var _ = meaning(SwiGLUOAIBack, func(e *evaluator) {
	a := e.n.Attr.(SwiGLUOAIAttr)
	for i, g := range e.in(0) {
		u, d := e.in(1)[i], e.in(2)[i]
		x, y := min(g, a.Limit), max(-a.Limit, min(u, a.Limit))
		s := 1 / (1 + math.Exp(-a.Alpha*x))
		if g <= a.Limit {
			e.out(0)[i] = d * (y + 1) * s * (1 + a.Alpha*x*(1-s))
		}
		if math.Abs(u) <= a.Limit {
			e.out(1)[i] = d * x * s
		}
	}
})

// The bound is where about half of the numbers lie beyond it.
var _ = differences("swiglu_oai", func(g *Graph) ID {
	return g.SwiGLUOAI(x(g, 5, 4), g.Linear(param(g, "w", 5, 5), x(g, 5, 4), None, None, 1), SwiGLUOAIAttr{1.7, 0.4})
})

func TestSwiGLUOAIRefuses(t *testing.T) {
	for _, a := range []SwiGLUOAIAttr{{1, 0}, {1, -1}, {1, math.Inf(1)}, {math.NaN(), 7}, {math.Inf(1), 7}} {
		g := &Graph{}
		if g.SwiGLUOAI(x(g, 5, 2), x(g, 5, 2), a); g.Err() == nil {
			t.Errorf("%+v was accepted", a)
		}
	}
}
