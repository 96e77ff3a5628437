package delta

import "github.com/ggtune/ggtune/engine/graph"

// IA3 is a vector that the layer's outputs are multiplied by, the bias among them (Liu et al. 2022, arXiv 2205.05638,
// section 3.3). It begins as ones.
type IA3 struct{}

// Vector is the name of IA3's numbers.
const Vector = "ia3"

// Params is the vector. It has no weight decay, which would draw it to 0, where the layer is silent.
func (IA3) Params(w graph.Shape) []Param {
	return []Param{{Name: Vector, Shape: graph.Matrix(w[1], 1)}}
}

// Apply multiplies what the layer gives.
func (IA3) Apply(s *Site) graph.ID {
	return s.G.Scale(s.Base(graph.None), s.Param(Vector), graph.None, graph.None, s.Acc)
}
