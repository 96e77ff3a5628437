package graph

var _ = meaning(Mul, func(e *evaluator) {
	for i, a := range e.in(0) {
		e.out(0)[i] = a * e.in(1)[i]
	}
})

var (
	_ = differences("mul", func(g *Graph) ID {
		return g.Mul(x(g, 5, 2), g.Linear(param(g, "w", 5, 5), x(g, 5, 2), None, None, 1))
	})
	_ = differences("mul of a value with itself", func(g *Graph) ID { return g.Mul(deep(g), deep(g)) })
)
