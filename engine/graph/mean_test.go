package graph

// runs calls f with each row of a run, the run and how many rows it has.
func runs(ends []float64, f func(row, run int, rows float64)) {
	row := 0
	for run, end := range ends {
		for rows := end - float64(row); row < int(end); row++ {
			f(row, run, rows)
		}
	}
}

var _ = meaning(Mean, func(e *evaluator) {
	k, _ := e.dims(0)
	runs(e.in(1), func(row, run int, rows float64) {
		for i := range k {
			e.out(0)[run*k+i] += e.in(0)[row*k+i] / rows
		}
	})
})

var _ = meaning(MeanBack, func(e *evaluator) {
	k, _ := e.dims(0)
	runs(e.in(1), func(row, run int, rows float64) {
		for i := range k {
			e.out(0)[row*k+i] = e.in(0)[run*k+i] / rows
		}
	})
})

var _ = differences("mean", func(g *Graph) ID { return g.Mean(x(g, 5, 4), bound(g, "ends", I32, 1, 2)) })
