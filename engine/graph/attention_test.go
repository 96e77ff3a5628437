package graph

import (
	"math"
	"strings"
	"testing"
)

// visible reads the tree {n, (start, end, parent)…} and says whether token t sees token u.
func visible(tree []float64, t, u int, both bool) bool {
	seg := func(x int) int {
		for s := range int(tree[0]) {
			if x >= int(tree[1+3*s]) && x < int(tree[2+3*s]) {
				return s
			}
		}
		return -1
	}
	st, su := seg(t), seg(u)
	if st == su {
		return u <= t || both
	}
	for st >= 0 {
		st = int(tree[3+3*st])
		if st == su {
			return true
		}
	}
	return false
}

// position is a token's in its branch: a segment's go on from its parent's.
func position(tree []float64, t int) int {
	n := int(tree[0])
	for s := range n {
		start, end := int(tree[1+3*s]), int(tree[2+3*s])
		if t < start || t >= end {
			continue
		}
		at := t - start
		for p := int(tree[3+3*s]); p >= 0; p = int(tree[3+3*p]) {
			at += int(tree[2+3*p] - tree[1+3*p])
		}
		return at
	}
	return -1
}

// A seen is one token that another one sees, in one head, and the scaled score of the two.
type seen struct {
	query  int // index of the token and head that see
	q, key int // first elements of q (and o) and of k (and v)
	score  float64
	slope  float64 // the score's derivative by what it would be without a bound
	kept   float64 // what dropout makes of the probability, as a factor
}

// apart is how many positions lie between two tokens.
func apart(tree []float64, t, u int) int {
	return max(position(tree, t)-position(tree, u), position(tree, u)-position(tree, t))
}

// attend calls f with all that each token and head sees.
func attend(e *evaluator, f func(s []seen)) {
	a := e.n.Attr.(AttentionAttr)
	_, t := e.dims(0)
	at := 6 // the tree
	if e.n.Op == Attention {
		at = 3
	}
	q, k, tree := e.in(0), e.in(1), e.in(at)
	for c := range t {
		for h := range a.Heads {
			var all []seen
			for u := range t {
				if !visible(tree, c, u, a.Bidirectional) ||
					a.Window > 0 && apart(tree, c, u) >= a.Window {
					continue
				}
				s := seen{slope: 1, query: c*a.Heads + h, key: (u*a.KVHeads + h/(a.Heads/a.KVHeads)) * a.HeadDim,
					q: (c*a.Heads + h) * a.HeadDim, kept: 1}
				if a.Drop.Rate > 0 { // any fixed mask will do
					s.kept = 0
					if (c*7+h*5+u*3+int(a.Drop.Stream))%4 != 0 {
						s.kept = 1 / (1 - a.Drop.Rate)
					}
				}
				for i := range a.HeadDim {
					s.score += a.Scale * q[s.q+i] * k[s.key+i]
				}
				if a.Cap > 0 {
					th := math.Tanh(s.score / a.Cap)
					s.score, s.slope = a.Cap*th, 1-th*th
				}
				all = append(all, s)
			}
			f(all)
		}
	}
}

var _ = meaning(Attention, func(e *evaluator) {
	a := e.n.Attr.(AttentionAttr)
	attend(e, func(all []seen) {
		sum := 0.0
		for _, s := range all {
			sum += math.Exp(s.score)
		}
		if sinks := e.in(4); sinks != nil {
			sum += math.Exp(sinks[all[0].query%a.Heads])
		}
		for _, s := range all {
			e.out(1)[s.query] = math.Log(sum)
			for i := range a.HeadDim {
				e.out(0)[s.q+i] += s.kept * math.Exp(s.score) / sum * e.in(2)[s.key+i]
			}
		}
	})
})

var _ = meaning(AttentionDelta, func(e *evaluator) {
	d := e.n.Attr.(AttentionAttr).HeadDim
	for i, o := range e.in(0) {
		e.out(0)[i/d] += o * e.in(1)[i]
	}
})

// attentionBack calls f with each pair's probability, as it is kept, and the gradient of its score.
func attentionBack(e *evaluator, f func(s seen, i int, p, ds float64)) {
	a := e.n.Attr.(AttentionAttr)
	attend(e, func(all []seen) {
		for _, s := range all {
			p, dp := math.Exp(s.score-e.in(3)[s.query]), 0.0
			for i := range a.HeadDim {
				dp += e.in(5)[s.q+i] * e.in(2)[s.key+i]
			}
			for i := range a.HeadDim {
				f(s, i, p*s.kept, p*(s.kept*dp-e.in(4)[s.query])*s.slope*a.Scale)
			}
		}
	})
}

var _ = meaning(AttentionBackQ, func(e *evaluator) {
	attentionBack(e, func(s seen, i int, p, ds float64) { e.out(0)[s.q+i] += ds * e.in(1)[s.key+i] })
})

var _ = meaning(AttentionBackKV, func(e *evaluator) {
	attentionBack(e, func(s seen, i int, p, ds float64) {
		e.out(0)[s.key+i] += ds * e.in(0)[s.q+i]
		e.out(1)[s.key+i] += p * e.in(5)[s.q+i]
	})
})

var _ = meaning(AttentionSinkGrad, func(e *evaluator) {
	heads := e.n.Attr.(AttentionAttr).Heads
	for i, lse := range e.in(1) {
		e.out(0)[i%heads] -= math.Exp(e.in(0)[i%heads]-lse) * e.in(2)[i]
	}
})

func attention(g *Graph, change func(a *AttentionAttr)) ID {
	h := x(g, 8, 6)
	q := g.Linear(param(g, "q", 8, 8), h, None, None, 1)
	k := g.Linear(param(g, "k", 8, 4), h, None, None, 1)
	v := g.Linear(param(g, "v", 8, 4), h, None, None, 1)
	a := AttentionAttr{Heads: 4, KVHeads: 2, HeadDim: 2, Scale: 0.6}
	change(&a)
	return g.Attention(q, k, v, bound(g, "tree", I32, 1, 10), None, dropKey(g, a), a)
}

func sunkAttention(g *Graph, sinks ID, a AttentionAttr) ID {
	h := x(g, 8, 6)
	kv := g.Linear(param(g, "k", 8, 4), h, None, None, 1)
	return g.Attention(h, kv, kv, bound(g, "tree", I32, 1, 10), sinks, dropKey(g, a), a)
}

// dropKey is the key of what is dropped, where something is.
func dropKey(g *Graph, a AttentionAttr) ID {
	if a.Drop.Rate == 0 {
		return None
	}
	return bound(g, "key", I64, 1, 1)
}

var (
	_ = differences("attention", func(g *Graph) ID { return attention(g, func(*AttentionAttr) {}) })
	_ = differences("attention, bidirectional", func(g *Graph) ID {
		return attention(g, func(a *AttentionAttr) { a.Bidirectional = true })
	})
	_ = differences("attention, a window", func(g *Graph) ID {
		return attention(g, func(a *AttentionAttr) { a.Window = 2 })
	})
	_ = differences("attention, a window both ways", func(g *Graph) ID {
		return attention(g, func(a *AttentionAttr) { a.Window, a.Bidirectional = 2, true })
	})
	_ = differences("attention, scores bounded", func(g *Graph) ID {
		return attention(g, func(a *AttentionAttr) { a.Window, a.Cap = 3, 0.5 })
	})
	_ = differences("attention, sinks", func(g *Graph) ID {
		return sunkAttention(g, param(g, "sinks", 4, 1), AttentionAttr{Heads: 4, KVHeads: 2, HeadDim: 2, Scale: 0.6,
			Window: 3})
	})
	_ = differences("attention, dropout", func(g *Graph) ID {
		return attention(g, func(a *AttentionAttr) { a.Drop = DropoutAttr{Rate: 0.25, Stream: 1} })
	})
	_ = differences("attention, dropout, sinks, a window", func(g *Graph) ID {
		return sunkAttention(g, param(g, "sinks", 4, 1), AttentionAttr{Heads: 4, KVHeads: 2, HeadDim: 2, Scale: 0.6,
			Window: 3, Cap: 0.7, Drop: DropoutAttr{Rate: 0.4, Stream: 2}})
	})
	_ = differences("attention, frozen sinks", func(g *Graph) ID {
		return sunkAttention(g, weight(g, 4, 1), AttentionAttr{Heads: 4, KVHeads: 2, HeadDim: 2, Scale: 0.6, Cap: 0.7})
	})
)

func TestSinksRefused(t *testing.T) {
	g := &Graph{}
	sunkAttention(g, param(g, "sinks", 3, 1), AttentionAttr{Heads: 4, KVHeads: 2, HeadDim: 2, Scale: 1})
	if g.Err() == nil || !strings.Contains(g.Err().Error(), "of 4 heads") {
		t.Errorf("accepted, or refused otherwise: %v", g.Err())
	}
}

func TestDropoutOfAttentionRefused(t *testing.T) {
	for _, c := range []struct {
		rate float64
		key  func(g *Graph) ID
	}{
		{1, func(g *Graph) ID { return bound(g, "key", I64, 1, 1) }},
		{-0.1, func(g *Graph) ID { return bound(g, "key", I64, 1, 1) }},
		{0, func(g *Graph) ID { return bound(g, "key", I64, 1, 1) }},
		{0.1, func(*Graph) ID { return None }},
		{0.1, func(g *Graph) ID { return bound(g, "key", I32, 1, 1) }},
	} {
		g := &Graph{}
		h := x(g, 8, 6)
		g.Attention(h, h, h, bound(g, "tree", I32, 1, 10), None, c.key(g),
			AttentionAttr{Heads: 4, KVHeads: 4, HeadDim: 2, Scale: 1, Drop: DropoutAttr{Rate: c.rate}})
		if g.Err() == nil {
			t.Errorf("a rate of %g: accepted", c.rate)
		}
	}
}

func TestWindowRefused(t *testing.T) {
	g := &Graph{}
	attention(g, func(a *AttentionAttr) { a.Window = -1 })
	if g.Err() == nil || !strings.Contains(g.Err().Error(), "a window of") {
		t.Errorf("accepted, or refused otherwise: %v", g.Err())
	}
}
