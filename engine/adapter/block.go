package adapter

import "fmt"

// Tie makes an adapter one whose rows of A are the same number over so many inputs, which they must be already.
func (a *Adapter) Tie(block int64) error {
	for i := range a.Pairs {
		p := &a.Pairs[i]
		if p.Flipped || !constant(p.A, p.AShape[0], block) {
			return fmt.Errorf("pair %q is not the same over each %d inputs: it was not trained with --mergeable; "+
				"train a "+
				"new one", p.Tensor, block)
		}
	}
	a.Block = block
	return nil
}

// Blocks says whether what is added to each row of a tensor is the same over each block of so many elements.
func (s *Sum) Blocks(tensor string, block int64) bool {
	if s.alone(tensor) {
		return false
	}
	for _, t := range s.terms[tensor] {
		if !constant(t.down, t.inputs(), block) {
			return false
		}
	}
	return true
}

// constant says whether rows of n numbers are whole blocks of equal ones.
func constant(x []float32, n, block int64) bool {
	if n%block != 0 {
		return false
	}
	for at, v := range x {
		if v != x[int64(at)/block*block] {
			return false
		}
	}
	return true
}
