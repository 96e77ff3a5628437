package delta

import "github.com/ggtune/ggtune/engine/graph"

// DoRA is a pair beside a weight whose rows have magnitudes of their own (Liu et al. 2024, arXiv 2402.09353, equations
// 5 and 11): with W' = W + Scale·BA, row o of the layer's weight is m_o/‖W'_o‖·W'_o. The norm counts as a constant in
// the derivative (section 4.3 there), as in PEFT. Unlike PEFT's, dropout is of the pair's input alone.
type DoRA struct {
	Rank  int64
	Scale float64
}

// The names of what DoRA has beside a pair's halves.
const (
	Magnitude = "lora_magnitude"
	Norm      = "lora_norm" // of each row of W, as m begins
)

// Params are both halves, the magnitudes, which weight decay would draw to silence, and the norms of the weight's
// rows.
func (d DoRA) Params(w graph.Shape) []Param {
	return append(LoRA{Rank: d.Rank}.Params(w),
		Param{Name: Magnitude, Shape: graph.Matrix(w[1], 1)},
		Param{Name: Norm, Shape: graph.Matrix(w[1], 1), Fixed: true})
}

// Apply gives m/‖W'‖∘(W' x) + bias. The norms are those of the numbers at hand, and made anew in each pass for the
// price of Rank tokens: ‖W'_o‖² = ‖W_o‖² + 2·Scale·B_o·(A W_o) + Scale²·B_o·(A Aᵀ B_o).
func (d DoRA) Apply(s *Site) graph.ID {
	w, bias, ok := s.Bare()
	if !ok {
		s.G.Fail("DoRA cannot stand beside %q behind another change of it", s.Name)
		return graph.None
	}
	g, a, b := s.G, s.Param(A), s.Param(B)
	y := g.Linear(w, s.X, graph.None, graph.None, 1)
	y = g.Linear(b, g.Linear(a, s.Drop(s.X), graph.None, graph.None, 1), graph.None, y, d.Scale)
	// The rows of A are taken for tokens here.
	aa := g.Linear(a, a, graph.None, graph.None, 1)
	u := g.PairNorm(s.Param(Norm), g.Linear(w, a, graph.None, graph.None, 1), b,
		g.Linear(aa, b, graph.None, graph.None, 1), d.Scale)
	return g.Scale(y, s.Param(Magnitude), u, bias, s.Acc)
}
