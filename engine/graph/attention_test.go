package graph

import "math"

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

// A seen is one token that another one sees, in one head, and the scaled score of the two.
type seen struct {
	query  int // index of the token and head that see
	q, key int // first elements of q (and o) and of k (and v)
	score  float64
}

// attend calls f with all that each token and head sees.
func attend(e *evaluator, f func(s []seen)) {
	a := e.n.Attr.(AttentionAttr)
	_, t := e.dims(0)
	q, k, tree := e.in(0), e.in(1), e.in(len(e.n.In)-1)
	for c := range t {
		for h := range a.Heads {
			var all []seen
			for u := range t {
				if !visible(tree, c, u, a.Bidirectional) {
					continue
				}
				s := seen{query: c*a.Heads + h, key: (u*a.KVHeads + h/(a.Heads/a.KVHeads)) * a.HeadDim,
					q: (c*a.Heads + h) * a.HeadDim}
				for i := range a.HeadDim {
					s.score += a.Scale * q[s.q+i] * k[s.key+i]
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
		for _, s := range all {
			e.out(1)[s.query] = math.Log(sum)
			for i := range a.HeadDim {
				e.out(0)[s.q+i] += math.Exp(s.score) / sum * e.in(2)[s.key+i]
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

// attentionBack calls f with each pair's probability and the gradient of its score.
func attentionBack(e *evaluator, f func(s seen, i int, p, ds float64)) {
	a := e.n.Attr.(AttentionAttr)
	attend(e, func(all []seen) {
		for _, s := range all {
			p, dp := math.Exp(s.score-e.in(3)[s.query]), 0.0
			for i := range a.HeadDim {
				dp += e.in(5)[s.q+i] * e.in(2)[s.key+i]
			}
			for i := range a.HeadDim {
				f(s, i, p, p*(dp-e.in(4)[s.query])*a.Scale)
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

func attention(g *Graph, both bool) ID {
	h := x(g, 8, 6)
	q := g.Linear(param(g, "q", 8, 8), h, None, None, 1)
	k := g.Linear(param(g, "k", 8, 4), h, None, None, 1)
	v := g.Linear(param(g, "v", 8, 4), h, None, None, 1)
	a := AttentionAttr{Heads: 4, KVHeads: 2, HeadDim: 2, Scale: 0.6, Bidirectional: both}
	return g.Attention(q, k, v, bound(g, "tree", I32, 1, 10), a)
}

var (
	_ = differences("attention", func(g *Graph) ID { return attention(g, false) })
	_ = differences("attention, bidirectional", func(g *Graph) ID { return attention(g, true) })
)
