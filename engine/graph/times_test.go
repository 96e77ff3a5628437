package graph

import (
	"math"
	"strings"
	"testing"
)

var _ = meaning(Times, func(e *evaluator) {
	for i, x := range e.in(0) {
		e.out(0)[i] = e.n.Attr.(TimesAttr).Factor * x
		if s := e.in(1); s != nil {
			e.out(0)[i] *= s[0]
		}
	}
})

var _ = differences("times", func(g *Graph) ID { return g.GELU(g.Times(g.GELU(x(g, 5, 2)), -1.75)) })

var _ = differences("times, by a number of the model's", func(g *Graph) ID {
	return g.GELU(g.TimesNumber(g.GELU(x(g, 5, 2)), weight(g, 1, 1)))
})

func TestTimesRefuses(t *testing.T) {
	for _, f := range []float64{math.Inf(-1), math.NaN()} {
		g := &Graph{}
		if g.Times(x(g, 5, 2), f); g.Err() == nil {
			t.Errorf("a factor of %g was accepted", f)
		}
	}
	for name, s := range map[string]func(g *Graph) ID{
		"is trained":    func(g *Graph) ID { return param(g, "s", 1, 1) },
		"by one number": func(g *Graph) ID { return weight(g, 5, 1) },
	} {
		g := &Graph{}
		if g.TimesNumber(x(g, 5, 2), s(g)); g.Err() == nil || !strings.Contains(g.Err().Error(), name) {
			t.Errorf("error: got %v, want one with %q", g.Err(), name)
		}
	}
}
