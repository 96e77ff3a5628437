package delta

import (
	"fmt"

	"github.com/ggtune/ggtune/engine/graph"
)

// VeRA is a pair of random matrices, which all weights of one width have in common, and two vectors that are trained
// (Kopiczko et al. 2024, arXiv 2310.11454, equation 2): beside y = W x stands b∘(B(d∘(A x))).
type VeRA struct{ Rank int64 }

// The names of VeRA's numbers.
const (
	VeraA       = "vera_a"
	VeraB       = "vera_b"
	VeraLambdaD = "vera_lambda_d"
	VeraLambdaB = "vera_lambda_b"
)

// Params are the matrices and the vectors.
func (v VeRA) Params(w graph.Shape) []Param {
	return []Param{
		{Name: VeraA, Shape: graph.Matrix(w[0], v.Rank), Fixed: true, Shared: fmt.Sprintf("%s.%d", VeraA, w[0])},
		{Name: VeraB, Shape: graph.Matrix(v.Rank, w[1]), Fixed: true, Shared: fmt.Sprintf("%s.%d", VeraB, w[1])},
		{Name: VeraLambdaD, Shape: graph.Matrix(v.Rank, 1), Decay: true},
		{Name: VeraLambdaB, Shape: graph.Matrix(w[1], 1), Decay: true},
	}
}

// Apply adds b∘(B(d∘(A x))) to the layer's output.
func (v VeRA) Apply(s *Site) graph.ID {
	g := s.G
	x := g.Linear(s.Param(VeraA), s.Drop(s.X), graph.None, graph.None, 1)
	x = g.Scale(x, s.Param(VeraLambdaD), graph.None, graph.None, graph.None)
	x = g.Linear(s.Param(VeraB), x, graph.None, graph.None, 1)
	return g.Scale(x, s.Param(VeraLambdaB), graph.None, graph.None, s.Base(s.Acc))
}
