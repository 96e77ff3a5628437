package graph

var _ = meaning(Gate, func(e *evaluator) {
	k, _ := e.dims(0)
	for t, on := range e.in(1) {
		if on != 0 {
			copy(e.out(0)[t*k:(t+1)*k], e.in(0)[t*k:])
		}
	}
})

var _ = differences("gate", func(g *Graph) ID { return g.Gate(x(g, 5, 4), bound(g, "ids", I32, 1, 4)) })
