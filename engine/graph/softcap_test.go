package graph

import (
	"math"
	"strings"
	"testing"
)

var _ = meaning(SoftCap, func(e *evaluator) {
	c := e.n.Attr.(SoftCapAttr).Cap
	for i, x := range e.in(0) {
		e.out(0)[i] = c * math.Tanh(x/c)
	}
})

var _ = meaning(SoftCapBack, func(e *evaluator) {
	c := e.n.Attr.(SoftCapAttr).Cap
	for i, x := range e.in(0) {
		th := math.Tanh(x / c)
		e.out(0)[i] = e.in(1)[i] * (1 - th*th)
	}
})

var _ = differences("softcap", func(g *Graph) ID { return g.SoftCap(x(g, 5, 2), 0.8) })

func TestSoftCapRefuses(t *testing.T) {
	for _, c := range []float64{0, -1, math.Inf(1), math.NaN()} {
		for name, build := range map[string]func(g *Graph){
			"numbers": func(g *Graph) { g.SoftCap(x(g, 5, 2), c) },
			"scores": func(g *Graph) {
				h := x(g, 4, 6)
				g.Attention(h, h, h, bound(g, "tree", I32, 1, 10), None, None,
					AttentionAttr{Heads: 2, KVHeads: 2, HeadDim: 2, Scale: 1, Cap: c})
			},
			"logits": func(g *Graph) { frozenHead(g, HeadAttr{Scale: 1, Cap: c}) },
			"top logits": func(g *Graph) {
				g.HeadTop(x(g, 5, 3), weight(g, 5, 7), None, None, HeadTopAttr{N: 2, Scale: 1, Cap: c})
			},
		} {
			g := &Graph{}
			build(g)
			if c == 0 && name != "numbers" { // it says that there is no bound
				if g.Err() != nil {
					t.Errorf("%s: %v", name, g.Err())
				}
				continue
			}
			if err := g.Err(); err == nil || !strings.Contains(err.Error(), "bounds numbers to") {
				t.Errorf("%s: a bound of %g: %v", name, c, err)
			}
		}
	}
}
