package graph

var _ = meaning(Linear, func(e *evaluator) {
	s := e.n.Attr.(LinearAttr).Scale
	k, n := e.dims(0)
	_, t := e.dims(1)
	w, x, b, y := e.in(0), e.in(1), e.in(2), e.out(0)
	for c := range t {
		for r := range n {
			for i := range k {
				y[c*n+r] += s * w[r*k+i] * x[c*k+i]
			}
			if b != nil {
				y[c*n+r] += b[r]
			}
		}
	}
})

var _ = meaning(LinearT, func(e *evaluator) {
	s := e.n.Attr.(LinearAttr).Scale
	k, n := e.dims(0)
	_, t := e.dims(1)
	for c := range t {
		for r := range n {
			for i := range k {
				e.out(0)[c*k+i] += s * e.in(0)[r*k+i] * e.in(1)[c*n+r]
			}
		}
	}
})

var _ = meaning(Outer, func(e *evaluator) {
	s := e.n.Attr.(LinearAttr).Scale
	k, t := e.dims(0)
	n, _ := e.dims(1)
	for c := range t {
		for r := range n {
			for i := range k {
				e.out(0)[r*k+i] += s * e.in(0)[c*k+i] * e.in(1)[c*n+r]
			}
		}
	}
})

var _ = meaning(BiasGrad, func(e *evaluator) {
	n, t := e.dims(0)
	for c := range t {
		for r := range n {
			e.out(0)[r] += e.in(0)[c*n+r]
		}
	}
})

var (
	_ = differences("linear, frozen weight",
		func(g *Graph) ID { return g.Linear(weight(g, 5, 4), x(g, 5, 3), None, None, 0.7) })
	_ = differences("linear, trained weight, bias, acc", func(g *Graph) ID {
		return g.Linear(param(g, "w", 5, 5), x(g, 5, 3), param(g, "b", 5, 1), x(g, 5, 3), 1.3)
	})
)
