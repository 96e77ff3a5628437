package adapter

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// A Scaled is an adapter that is applied so many times as strongly as it was trained.
type Scaled struct {
	*Adapter
	Scale float64 // beside the adapter's own; 1 as trained, 0 not at all
}

// A Sum is what adapters together make of a model's weights: they add Σ scale·B·A to each tensor, or, of other kinds,
// do what one of them does to its rows. It is safe for concurrent use.
type Sum struct {
	terms map[string][]term
	// lengths are the norms that DoRA gives to a tensor's rows, factors what (IA)³ multiplies them by, biases what it
	// multiplies the elements of a bias by.
	lengths, factors, biases map[string][]float32
}

// A term is one pair's part of a tensor's sum: row o is scale·Σ up[o, k]·down[k].
type term struct {
	scale    float64
	rank     int64
	rows     int64     // of one matrix: further ones are of further experts
	up, down []float32 // [rank, rows] and [row, rank] of each matrix, in ggml order
	table    bool      // of a table that is read by row: nothing is multiplied with its rows
}

// NewSum gives the sum of adapters for one model, whose numbers are borrowed. A number in them that is not finite is an
// error. Pairs that change nothing are left out: those scaled by 0, and those of LoRA of which a half is all zero.
func NewSum(list ...Scaled) (*Sum, error) {
	s := &Sum{terms: map[string][]term{}, lengths: map[string][]float32{}, factors: map[string][]float32{},
		biases: map[string][]float32{}}
	for _, a := range list {
		if math.IsNaN(a.Scale) || math.IsInf(a.Scale, 0) {
			return nil, fmt.Errorf("an adapter's scale is %g, expected a number", a.Scale)
		}
		if a.Kind.Merged() && a.Scale != 0 && a.Scale != 1 {
			return nil, fmt.Errorf("a %s adapter is no sum that could be scaled by %g; expected a scale of 1", a.Kind,
				a.Scale)
		}
		for i := range a.Pairs {
			p := &a.Pairs[i]
			if err := finite(p); err != nil {
				return nil, err
			}
			if a.Scale == 0 {
				continue
			}
			if s.Changes(p.Tensor) && (a.Kind.Merged() || s.alone(p.Tensor)) {
				return nil, fmt.Errorf("tensor %q: a dora or ia3 adapter changes what others would be added to; merge "+
					"one of them, and train the next on the result", p.Tensor)
			}
			s.add(a, p)
		}
	}
	return s, nil
}

// add takes a pair in.
func (s *Sum) add(a Scaled, p *Pair) {
	if a.Kind == IA3 {
		s.factors[p.Tensor] = p.More[0]
		s.biases[strings.TrimSuffix(p.Tensor, ".weight")+".bias"] = p.More[0]
		return
	}
	if a.Kind == DoRA {
		s.lengths[p.Tensor] = p.More[0]
	} else if zero(p.A) || zero(p.B) {
		return
	}
	t := term{scale: a.Scale * a.Adapter.Scale(p), rank: p.Rank, rows: p.BShape[1], up: p.B, down: p.A}
	if p.Flipped { // A is indexed by the table's rows, and B lies the other way
		t.up, t.down, t.rows, t.table = p.A, transposed(p.B, p.BShape), p.AShape[1], true
	}
	s.terms[p.Tensor] = append(s.terms[p.Tensor], t)
}

// finite refuses numbers that are not.
func finite(p *Pair) error {
	for _, part := range append([][]float32{p.A, p.B}, p.More...) {
		for _, v := range part {
			if v-v != 0 {
				return fmt.Errorf("pair %q holds %v; the adapter's training diverged, its file is damaged, or a scale "+
					"is too large: take an earlier checkpoint, or a smaller scale", p.Tensor, v)
			}
		}
	}
	return nil
}

func zero(x []float32) bool { return !slices.ContainsFunc(x, func(v float32) bool { return v != 0 }) }

// alone says that an adapter changes a tensor beside which no other can.
func (s *Sum) alone(tensor string) bool { return s.lengths[tensor] != nil || s.factors[tensor] != nil }

// transposed turns a matrix of rows of shape[0] numbers.
func transposed(x []float32, shape [2]int64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		col, row := int64(i)%shape[0], int64(i)/shape[0]
		out[col*shape[1]+row] = v
	}
	return out
}

// Changes says whether a tensor does not stay as it is.
func (s *Sum) Changes(tensor string) bool {
	return len(s.terms[tensor]) > 0 || s.alone(tensor) || s.biases[tensor] != nil
}

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

// Factors gives what each row of a tensor is multiplied by where that is all that happens to it, else nil.
func (s *Sum) Factors(tensor string) []float32 { return s.factors[tensor] }

// Tensors is how many tensors with adapters beside them change.
func (s *Sum) Tensors() int { return len(s.terms) + len(s.factors) }

// AddTo makes of x, whole rows of n numbers of a tensor from row first on, what the adapters make of them. It is
// computed in f64 and rounded once, to x.
func (s *Sum) AddTo(tensor string, first int64, x []float32, n int64) {
	for i, f := range s.biases[tensor] {
		x[i] *= f
	}
	terms, lengths, factors := s.terms[tensor], s.lengths[tensor], s.factors[tensor]
	if len(terms) == 0 && factors == nil {
		return
	}
	sum := make([]float64, n)
	for at := int64(0); at < int64(len(x)); at += n {
		row, o := x[at:at+n], first+at/n
		for i, v := range row {
			sum[i] = float64(v)
		}
		for _, t := range terms {
			t.addRow(sum, o)
		}
		by := 1.0
		if factors != nil {
			by = float64(factors[o])
		} else if lengths != nil {
			by = over(float64(lengths[o]), sum)
		}
		for i, v := range sum {
			row[i] = float32(by * v)
		}
	}
}

// over is length/‖row‖, and 0 for a row of zeros.
func over(length float64, row []float64) float64 {
	squares := 0.0
	for _, v := range row {
		squares += v * v
	}
	if squares == 0 {
		return 0
	}
	return length / math.Sqrt(squares)
}

// addRow adds row o. Four ranks at once: the sum is read and written a quarter as often.
func (t *term) addRow(sum []float64, o int64) {
	n := int64(len(sum))
	up, down := t.up[o*t.rank:(o+1)*t.rank], t.down[o/t.rows*t.rank*n:]
	part := func(k int64) []float32 { return down[k*n : (k+1)*n : (k+1)*n] }
	k := int64(0)
	for ; k+4 <= t.rank; k += 4 {
		a, b, c, d := t.scale*float64(up[k]), t.scale*float64(up[k+1]), t.scale*float64(up[k+2]),
			t.scale*float64(up[k+3])
		w, x, y, z := part(k), part(k+1), part(k+2), part(k+3)
		for i := range sum {
			sum[i] += a*float64(w[i]) + b*float64(x[i]) + c*float64(y[i]) + d*float64(z[i])
		}
	}
	for ; k < t.rank; k++ {
		a, w := t.scale*float64(up[k]), part(k)
		for i := range sum {
			sum[i] += a * float64(w[i])
		}
	}
}

// inputs is the length of a row.
func (t *term) inputs() int64 { return int64(len(t.down)) * t.rows / int64(len(t.up)) }
