package adapter

import (
	"fmt"
	"math"
)

// A Scaled is an adapter that is applied so many times as strongly as it was trained.
type Scaled struct {
	*Adapter
	Scale float64 // beside the adapter's own; 1 as trained, 0 not at all
}

// A Sum is what adapters together add to a model's weights: Σ scale·B·A of each tensor. It is safe for concurrent use.
type Sum struct{ terms map[string][]term }

// A term is one pair's part of a tensor's sum: row o is scale·Σ up[o, k]·down[k].
type term struct {
	scale    float64
	rank     int64
	up, down []float32 // [rank, rows] and [row, rank], in ggml order
	table    bool      // of a table that is read by row: nothing is multiplied with its rows
}

// NewSum gives the sum of adapters for one model, whose numbers are borrowed. A number in them that is not finite is an
// error. Pairs that add nothing are left out: those scaled by 0, and those of which a half is all zero.
func NewSum(list ...Scaled) (*Sum, error) {
	s := &Sum{terms: map[string][]term{}}
	for _, a := range list {
		if math.IsNaN(a.Scale) || math.IsInf(a.Scale, 0) {
			return nil, fmt.Errorf("an adapter's scale is %g, expected a number", a.Scale)
		}
		for i := range a.Pairs {
			p := &a.Pairs[i]
			largest := [2]float32{}
			for h, half := range [2][]float32{p.A, p.B} {
				for _, v := range half {
					if v-v != 0 {
						return nil, fmt.Errorf("pair %q holds %v; the adapter's training diverged, or its file is "+
							"damaged: take an earlier checkpoint", p.Tensor, v)
					}
					largest[h] = max(largest[h], v, -v)
				}
			}
			if a.Scale == 0 || largest[0] == 0 || largest[1] == 0 {
				continue
			}
			t := term{scale: a.Scale * a.Adapter.Scale(p), rank: p.Rank, up: p.B, down: p.A}
			if p.Flipped { // A is indexed by the table's rows, and B lies the other way
				t.up, t.down, t.table = p.A, transposed(p.B, p.BShape), true
			}
			s.terms[p.Tensor] = append(s.terms[p.Tensor], t)
		}
	}
	return s, nil
}

// transposed turns a matrix of rows of shape[0] numbers.
func transposed(x []float32, shape [2]int64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		col, row := int64(i)%shape[0], int64(i)/shape[0]
		out[col*shape[1]+row] = v
	}
	return out
}

// Changes says whether anything is added to a tensor.
func (s *Sum) Changes(tensor string) bool { return len(s.terms[tensor]) > 0 }

// Rank is the rank of what is added to a tensor, at most, as far as its rows are multiplied with an input: 0 for a
// table that is read by row.
func (s *Sum) Rank(tensor string) (n int64) {
	for _, t := range s.terms[tensor] {
		if !t.table {
			n += t.rank
		}
	}
	return n
}

// Tensors is how many tensors something is added to.
func (s *Sum) Tensors() int { return len(s.terms) }

// AddTo adds to x, whole rows of n numbers of a tensor from row first on, what the adapters add there. Sums are in f64
// and rounded once, to x.
func (s *Sum) AddTo(tensor string, first int64, x []float32, n int64) {
	terms := s.terms[tensor]
	if len(terms) == 0 {
		return
	}
	sum := make([]float64, n)
	for at := int64(0); at < int64(len(x)); at += n {
		row := x[at : at+n]
		for i, v := range row {
			sum[i] = float64(v)
		}
		for _, t := range terms {
			t.addRow(sum, first+at/n)
		}
		for i, v := range sum {
			row[i] = float32(v)
		}
	}
}

// addRow adds row o. Four ranks at once: the sum is read and written a quarter as often.
func (t *term) addRow(sum []float64, o int64) {
	n := int64(len(sum))
	up := t.up[o*t.rank : (o+1)*t.rank]
	k := int64(0)
	for ; k+4 <= t.rank; k += 4 {
		a, b, c, d := t.scale*float64(up[k]), t.scale*float64(up[k+1]), t.scale*float64(up[k+2]),
			t.scale*float64(up[k+3])
		w, x, y, z := t.row(k, n), t.row(k+1, n), t.row(k+2, n), t.row(k+3, n)
		for i := range sum {
			sum[i] += a*float64(w[i]) + b*float64(x[i]) + c*float64(y[i]) + d*float64(z[i])
		}
	}
	for ; k < t.rank; k++ {
		a, w := t.scale*float64(up[k]), t.row(k, n)
		for i := range sum {
			sum[i] += a * float64(w[i])
		}
	}
}

// row is row k of down, of n numbers.
func (t *term) row(k, n int64) []float32 { return t.down[k*n : (k+1)*n : (k+1)*n] }
