package graph

var _ = meaning(Add, func(e *evaluator) {
	for i := range e.out(0) {
		e.out(0)[i] = e.in(0)[i] + e.in(1)[i]
	}
})

var (
	_ = differences("add of one value twice", func(g *Graph) ID { return g.Add(x(g, 4, 2), x(g, 4, 2)) })
	_ = differences("add of three dimensions", func(g *Graph) ID { return g.Add(deep(g), g.GELU(deep(g))) })
)
