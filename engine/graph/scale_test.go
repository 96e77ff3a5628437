package graph

import "math"

// given is number i of a vector, or what stands for an absent one.
func given(v []float64, i int, absent float64) float64 {
	if v == nil {
		return absent
	}
	return v[i]
}

var _ = meaning(Scale, func(e *evaluator) {
	n, _ := e.dims(0)
	for i, x := range e.in(0) {
		e.out(0)[i] += x*e.in(1)[i%n]*given(e.in(2), i%n, 1) + given(e.in(3), i%n, 0)
	}
})

var _ = meaning(ScaleGrad, func(e *evaluator) {
	n, _ := e.dims(0)
	for i, x := range e.in(0) {
		e.out(0)[i%n] += x * e.in(1)[i] * given(e.in(2), i%n, 1)
	}
})

var _ = meaning(PairNorm, func(e *evaluator) {
	n, rank := e.dims(1)
	s := e.n.Attr.(PairNormAttr).Scale
	for o, w := range e.in(0) {
		sum := w * w
		for k := range rank {
			sum += e.in(2)[o*rank+k] * (2*s*e.in(1)[k*n+o] + s*s*e.in(3)[o*rank+k])
		}
		if sum > 0 {
			e.out(0)[o] = 1 / math.Sqrt(sum)
		}
	}
})

var (
	_ = differences("scale", func(g *Graph) ID {
		return g.Scale(x(g, 5, 3), param(g, "v", 5, 1), None, None, x(g, 5, 3))
	})
	_ = differences("scale by norms of a pair, with bias", func(g *Graph) ID {
		fixed := func(name string, ne0, ne1 int64) ID {
			return g.Bound(Value{Name: name, Kind: Weight, Shape: Matrix(ne0, ne1), Ref: None})
		}
		u := g.PairNorm(fixed("norms", 5, 1), fixed("wa", 5, 2), fixed("b", 2, 5), fixed("h", 2, 5), 0.1)
		return g.Scale(g.Linear(param(g, "w", 4, 5), x(g, 4, 3), None, None, 1), param(g, "m", 5, 1), u,
			fixed("bias", 5, 1), None)
	})
)
