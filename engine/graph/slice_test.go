package graph

var _ = meaning(Slice, func(e *evaluator) {
	a := e.n.Attr.(SliceAttr)
	m, t := e.dims(0)
	for c := range t {
		copy(e.out(0)[c*int(a.Width):(c+1)*int(a.Width)], e.in(0)[c*m+int(a.Offset):])
	}
})

var _ = meaning(Unslice, func(e *evaluator) {
	a := e.n.Attr.(SliceAttr)
	m, t := e.dims(0)
	for c := range t {
		for i := range m {
			e.out(0)[c*int(a.Width)+int(a.Offset)+i] += e.in(0)[c*m+i]
		}
	}
})

var _ = differences("slices that overlap", func(g *Graph) ID {
	y := g.Linear(param(g, "w", 6, 6), x(g, 6, 2), None, None, 1)
	return g.Add(g.Slice(y, 0, 4), g.Slice(y, 2, 4))
})
