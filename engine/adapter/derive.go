package adapter

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/ggtune/ggtune/engine/lowrank"
)

// The starts that follow from the base's weights.
const (
	// PiSSA starts as the part of each weight with the largest singular values (Meng et al. 2024, equations 2 and 3).
	PiSSA = "pissa"
	// OLoRA starts as the first columns of each weight's Q, and rows of its R (Büyükakyüz 2024, algorithm 1).
	OLoRA = "olora"
	// LoftQ starts as what is nearest to the difference between the weights that a base was quantized from and its own
	// (Li et al. 2023, the low-rank step of algorithm 1: the base, a file, stays as it is).
	LoftQ = "loftq"
)

// Derived lists the ways a pair can start from weights; New leaves its halves zero, and Derive fills them.
func Derived() []string { return []string{PiSSA, OLoRA, LoftQ} }

// Subtracts says whether what a start adds to the weights is to be subtracted from them again, so that the model begins
// as the base is.
func Subtracts(init string) bool { return init == PiSSA || init == OLoRA }

// Weights gives the numbers of a matrix, of which Derive may change the memory.
type Weights func(tensor string) ([]float64, error)

// Derive fills the halves of the pairs from weights, in place: of LoftQ these are the differences to be made up for.
// Lost is what of them the rank leaves out.
func (a *Adapter) Derive(ctx context.Context, init string, weights Weights, done Progress) (Lost, error) {
	var lost tally
	for i := range a.Pairs {
		if ctx.Err() != nil {
			return Lost{}, context.Cause(ctx)
		}
		p := &a.Pairs[i]
		w, err := weights(p.Tensor)
		if err != nil {
			return Lost{}, err
		}
		rows, columns := p.extent()
		list := p.matrices()
		if len(list)*rows*columns != len(w) {
			return Lost{}, fmt.Errorf("tensor %q has %d numbers, expected those of %v", p.Tensor, len(w), p.weight())
		}
		if int(p.Rank) > min(rows, columns) {
			return Lost{}, fmt.Errorf("tensor %q is %d × %d, and a start from its weights has a rank of no more than "+
				"the smaller; give a lower --rank, or leave the tensor out of --targets", p.Tensor, rows, columns)
		}
		if slices.ContainsFunc(w, func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }) {
			return Lost{}, fmt.Errorf("tensor %q holds numbers that are not finite; the file is damaged", p.Tensor)
		}
		for e := range list {
			f, err := a.derived(init, w[e*rows*columns:(e+1)*rows*columns], rows, columns, p)
			if err != nil {
				return Lost{}, fmt.Errorf("tensor %q: %w", p.Tensor, err)
			}
			list[e].fill(f)
			lost.add(p.Tensor, f)
		}
		done(i+1, len(a.Pairs))
	}
	return lost.sum(), nil
}

// DeriveBytes is the memory that Derive takes beside the pairs, with the matrix that it is given.
func (a *Adapter) DeriveBytes(init string) (most int64) {
	for i := range a.Pairs {
		p := &a.Pairs[i]
		rows, columns := p.extent()
		n := lowrank.Bytes(rows, columns, int(p.Rank))
		if init == OLoRA {
			n = lowrank.QRBytes(rows, columns, int(p.Rank))
		}
		most = max(most, n+8*p.weight().Elements())
	}
	return most
}

// ExplainBytes is the memory of components of the pairs' inputs, found in batches of so many vectors; matrices with one
// input are counted for themselves.
func (a *Adapter) ExplainBytes(vectors int) (held int64) {
	most := int64(0)
	for i := range a.Pairs {
		p := &a.Pairs[i]
		one, adding := lowrank.ComponentsBytes(int(p.Rank), int(p.AShape[0]), vectors)
		held, most = held+one, max(most, adding)
	}
	return held + most
}

// derived gives the factors that a pair starts with.
func (a *Adapter) derived(init string, w []float64, rows, columns int, p *Pair) (lowrank.Factors, error) {
	if init == OLoRA { // which is not divided by the scale, as in PEFT
		return lowrank.QR(w, rows, columns, int(p.Rank)), nil
	}
	f, err := lowrank.OfMatrix(w, rows, columns, int(p.Rank))
	if err != nil {
		return f, err
	}
	each := 1 / math.Sqrt(a.Scale(p))
	for _, half := range [][]float32{f.Up, f.Down} {
		for i, x := range half {
			half[i] = float32(float64(x) * each)
		}
	}
	return f, nil
}

// fill puts factors of the pair's rank into its own memory.
func (p *Pair) fill(f lowrank.Factors) {
	q := p.withFactors(f.Up, f.Down, f.Rank)
	copy(p.A, q.A)
	copy(p.B, q.B)
}

// Begun takes the pairs of an adapter that was left with what it began as taken away (Opposite), as Add made it: into a
// those that were trained, and gives the others as an adapter.
func (a *Adapter) Begun(left *Adapter) (*Adapter, error) {
	start := a.Opposite()
	const rounding = 1e-6 // of the file's alpha
	if len(left.Pairs) != len(a.Pairs) || math.Abs(left.Alpha-2*a.Alpha) > rounding*left.Alpha {
		return nil, fmt.Errorf("%d pairs with alpha %g, expected %d with %g", len(left.Pairs), left.Alpha, len(a.Pairs),
			2*a.Alpha)
	}
	for i := range a.Pairs {
		p, both := &a.Pairs[i], &left.Pairs[i]
		if both.Tensor != p.Tensor || both.weight() != p.weight() || both.Rank != 2*p.Rank {
			return nil, fmt.Errorf("pair %q of rank %d, expected %q of rank %d", both.Tensor, both.Rank, p.Tensor,
				2*p.Rank)
		}
	}
	mine, begun, with := a.matrices(), start.matrices(), left.matrices()
	for i := range mine {
		p, q, both := &mine[i], &begun[i], &with[i]
		up, down := both.factors()
		rows, columns := p.extent()
		r := int(p.Rank)
		for half, to := range []*Pair{p, q} {
			u := make([]float32, 0, rows*r)
			for o := range rows {
				u = append(u, up[(2*o+half)*r:(2*o+half+1)*r]...)
			}
			to.fill(lowrank.Factors{Rank: r, Up: u, Down: down[half*r*columns : (half+1)*r*columns]})
		}
	}
	return start, nil
}

// Opposite is an adapter that takes away what a adds, with numbers of its own.
func (a *Adapter) Opposite() *Adapter {
	out := *a
	out.Pairs, out.Info, out.Notes = make([]Pair, len(a.Pairs)), map[string]string{}, nil
	for i := range a.Pairs {
		p := a.Pairs[i]
		p.A, p.B = slices.Clone(p.A), slices.Clone(p.B)
		for j := range p.B {
			p.B[j] = -p.B[j]
		}
		out.Pairs[i] = p
	}
	return &out
}
