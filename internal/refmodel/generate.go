package refmodel

import "strings"

// Generate makes a model of any size, every number from Formula and exact in float32: matrices within ±2^−shift, biases
// within ±1/8, norms and frequency factors between 3/4 and 5/4. optional says which optional tensors the model has; nil
// means none: tied output, no biases, no frequency factors.
func Generate(arch string, hp HParams, shift int, optional func(name string) bool) (*Model, error) {
	list, err := Tensors(arch, hp)
	if err != nil {
		return nil, err
	}
	m := &Model{Arch: arch, HParams: hp, Weights: map[string]*Matrix{}}
	for _, t := range list {
		if t.Optional && (optional == nil || !optional(t.Name)) {
			continue
		}
		at, offset := shift, 0.0
		switch {
		case strings.HasSuffix(t.Name, ".bias"):
			at = 3
		case t.Rows == 1:
			at, offset = 2, 1
		}
		m.Weights[t.Name] = FormulaMatrix(t.Name, t.Rows, t.Cols, at, offset)
	}
	return m, m.Validate()
}

// WithPairs gives the same model with LoRA pairs of rank r beside every linear weight that may have one: of tied
// embeddings none. Neither A nor B is zero.
func (m *Model) WithPairs(r int, scale float64) (*Model, error) {
	list, err := Tensors(m.Arch, m.HParams)
	if err != nil {
		return nil, err
	}
	out := *m
	out.LoRA = map[string]Pair{}
	untied := m.untied()
	for _, t := range list {
		if !t.Linear || !untied && (t.Name == "token_embd.weight" || t.Name == "output.weight") {
			continue
		}
		ar, ac, br, bc := PairShapes(t, r)
		out.LoRA[t.Name] = Pair{
			A:     FormulaMatrix(t.Name+".lora_a", ar, ac, shiftA, 0),
			B:     FormulaMatrix(t.Name+".lora_b", br, bc, shiftB, 0),
			Scale: scale,
		}
	}
	return &out, out.Validate()
}
