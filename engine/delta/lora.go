package delta

import "github.com/ggtune/ggtune/engine/graph"

// LoRA is a pair of thin matrices (Hu et al. 2021): beside y = W x stands Scale·B(A x), with A [n_in, Rank] and B
// [Rank, n_out]. Of several experts each has a pair of its own.
type LoRA struct {
	Rank  int64
	Scale float64
	// Block ties each row of A in groups of so many inputs (QA-LoRA, Xu et al. 2023, arXiv 2309.14717, section 3.3:
	// the sum of each group's inputs is what A multiplies). What the pair adds to W is then one number for a group of a
	// row, which a type with a minimum per block takes into its minima. 0: A is free.
	Block int64
	// FixedA says that A stays as it begins and only B is trained (LoRA-FA, Zhang et al. 2023, arXiv 2308.03303): of
	// the input only A x is needed for the gradient.
	FixedA bool
}

// The names of a pair's halves, in llama.cpp's adapter files too.
const (
	A = "lora_a"
	B = "lora_b"
)

// Params are both halves.
func (l LoRA) Params(w graph.Shape) []Param {
	return []Param{
		{Name: A, Shape: graph.Shape{w[0], l.Rank, w[2]}, Decay: true, Stacked: true, Tied: l.Block, Fixed: l.FixedA},
		{Name: B, Shape: graph.Shape{l.Rank, w[1], w[2]}, Decay: true},
	}
}

// Apply adds Scale·B(A x) to the layer's output.
func (l LoRA) Apply(s *Site) graph.ID {
	y := s.Base(s.Acc)
	b := s.Param(B)
	return s.Multiply(b, l.down(s, 1), graph.None, y, l.Scale)
}

// down gives scale·A x, with dropout on x, where the pair acts.
func (l LoRA) down(s *Site, scale float64) graph.ID {
	x := s.Drop(s.X)
	return s.Gate(s.Multiply(s.Param(A), x, graph.None, graph.None, scale))
}

// Joins takes pairs whose As are as free as this one's.
func (l LoRA) Joins(d Delta) bool {
	p, ok := d.(LoRA)
	return ok && p.FixedA == l.FixedA
}

// Join binds the As as one matrix under the first one's name, which multiplies x in one product: each alone is too thin
// to repay reading x for it.
func (l LoRA) Join(sites []*Site) []graph.ID {
	rank := int64(0)
	for _, s := range sites {
		rank += s.Delta.(LoRA).Rank
	}
	first := sites[0]
	all := Param{Name: A, Shape: graph.Matrix(first.Weight[0], rank), Fixed: l.FixedA}
	z := first.Gate(first.G.Linear(first.bind(all), first.X, graph.None, graph.None, 1))
	out, at := make([]graph.ID, len(sites)), int64(0)
	for i, s := range sites {
		p := s.Delta.(LoRA)
		b := s.Param(B)
		out[i] = s.G.Linear(b, s.G.Slice(z, at, p.Rank), graph.None, s.Base(graph.None), p.Scale)
		at += p.Rank
	}
	return out
}

// Product is the pair beside the output head: A x, scaled, and B.
func (l LoRA) Product(s *Site) (h2, w2 graph.ID) {
	h2 = l.down(s, l.Scale)
	return h2, s.Param(B)
}

// LoRARows is a pair beside a table that is read by row, stored flipped, as llama.cpp's build_inp_embd reads it: A
// [Rank, n_rows] is indexed by row, B [Rank, n_in] multiplies.
type LoRARows LoRA

// Params are both halves.
func (l LoRARows) Params(w graph.Shape) []Param {
	return []Param{
		{Name: A, Shape: graph.Matrix(l.Rank, w[1]), Decay: true, Fixed: l.FixedA},
		{Name: B, Shape: graph.Matrix(l.Rank, w[0]), Decay: true},
	}
}

// Gather adds Scale·B A[ids] to the table's rows.
func (l LoRARows) Gather(s *Site, ids graph.ID) graph.ID {
	y := s.Base(graph.None)
	a := s.Gate(s.G.Rows(s.Param(A), ids))
	return s.G.Linear(s.Param(B), a, graph.None, y, l.Scale)
}
