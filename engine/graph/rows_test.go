package graph

var _ = meaning(Rows, func(e *evaluator) {
	k, _ := e.dims(0)
	for c, id := range e.in(1) {
		copy(e.out(0)[c*k:(c+1)*k], e.in(0)[int(id)*k:])
	}
})

func addRows(e *evaluator) {
	k, _ := e.dims(0)
	for c, id := range e.in(1) {
		for i := range k {
			e.out(0)[int(id)*k+i] += e.in(0)[c*k+i]
		}
	}
}

var (
	_ = meaning(RowsGrad, addRows)
	_ = meaning(Scatter, addRows)
)

var (
	_ = differences("rows of a table", func(g *Graph) ID {
		return g.Add(g.Rows(param(g, "w", 5, 4), bound(g, "ids", I32, 1, 3)), x(g, 5, 3))
	})
	_ = differences("rows of an activation",
		func(g *Graph) ID { return g.Rows(x(g, 5, 4), bound(g, "ids", I32, 1, 3)) })
)
