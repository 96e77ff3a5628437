package graph

import "math"

var _ = meaning(Rope, func(e *evaluator) {
	a := e.n.Attr.(RopeAttr)
	width, t := e.dims(0)
	for c := range t {
		temp := 1.0
		if a.Temp != 0 {
			temp += a.Temp * math.Log(1+math.Floor(e.in(1)[c]/float64(a.TempLen)))
		}
		for i := range width {
			e.out(0)[c*width+i] = temp * e.in(0)[c*width+i]
		}
		for h := range a.Heads {
			for p := range a.Dim / 2 {
				theta := e.in(1)[c] * math.Pow(a.FreqBase, -2*float64(p)/float64(a.Dim))
				if e.in(2) != nil {
					theta /= e.in(2)[p]
				}
				if a.Inverse {
					theta = -theta
				}
				i, j := 2*p, 2*p+1
				if a.Neox {
					i, j = p, p+a.Dim/2
				}
				i, j = c*width+h*a.HeadDim+i, c*width+h*a.HeadDim+j
				x, y := e.in(0)[i], e.in(0)[j]
				e.out(0)[i] = temp * (x*math.Cos(theta) - y*math.Sin(theta))
				e.out(0)[j] = temp * (x*math.Sin(theta) + y*math.Cos(theta))
			}
		}
	}
})

func rope(g *Graph, neox bool) ID {
	p := Rotary{FreqBase: 100, Dim: 4, Neox: neox, Temp: 0.3, TempLen: 1}
	return g.Rope(x(g, 12, 3), bound(g, "pos", I32, 1, 3), weight(g, 2, 1), 2, 6, p)
}

var (
	_ = differences("rope, adjacent pairs", func(g *Graph) ID { return rope(g, false) })
	_ = differences("rope, halves", func(g *Graph) ID { return rope(g, true) })
)
