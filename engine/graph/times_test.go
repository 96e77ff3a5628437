package graph

import (
	"math"
	"testing"
)

var _ = meaning(Times, func(e *evaluator) {
	for i, x := range e.in(0) {
		e.out(0)[i] = e.n.Attr.(TimesAttr).Factor * x
	}
})

var _ = differences("times", func(g *Graph) ID { return g.GELU(g.Times(g.GELU(x(g, 5, 2)), -1.75)) })

func TestTimesRefuses(t *testing.T) {
	for _, f := range []float64{math.Inf(-1), math.NaN()} {
		g := &Graph{}
		if g.Times(x(g, 5, 2), f); g.Err() == nil {
			t.Errorf("a factor of %g was accepted", f)
		}
	}
}
