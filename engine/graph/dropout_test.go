package graph

// Any fixed mask will do.
var _ = meaning(Dropout, func(e *evaluator) {
	a := e.n.Attr.(DropoutAttr)
	for i, x := range e.in(0) {
		if (i*7+int(a.Stream))%3 != 0 {
			e.out(0)[i] = x / (1 - a.Rate)
		}
	}
})

var _ = differences("dropout", func(g *Graph) ID { return g.Dropout(x(g, 5, 2), bound(g, "key", I64, 1, 1), 0.25, 1) })
