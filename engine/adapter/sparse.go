package adapter

import (
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"

	"github.com/ggtune/ggtune/engine/lowrank"
)

// A Sparse says how adapters are merged of which each gives up a part of its changes, so that they disturb each other
// less.
type Sparse struct {
	Density float64 // share of each adapter's changes to a tensor that is kept, above 0 to 1
	// Random keeps changes by chance and multiplies them by 1/Density (DARE: Yu et al. 2024); else the largest are kept
	// (TIES: Yadav et al. 2023).
	Random bool
	// Elect adds only changes whose sign is that of the sum of all, and divides by the number of these (TIES).
	Elect bool
	Rank  int // of the result; what is left is brought to it with the least loss
	Seed  uint64

	kept func(tensor string, adapter int) func() bool // in place of chance; nil but in tests
}

// MergeSparse merges adapters as o says: each tensor's changes are made, thinned, scaled, added and brought to a rank.
// That is PEFT's add_weighted_adapter with combination_type "ties_svd", "dare_linear_svd" or "dare_ties_svd", where the
// sign is also elected before scaling.
func MergeSparse(ctx context.Context, o Sparse, done Progress, list ...Scaled) (*Adapter, Lost, error) {
	all, err := together(list)
	if err != nil {
		return nil, Lost{}, err
	}
	out, err := like(list)
	if err != nil {
		return nil, Lost{}, err
	}
	var lost tally
	for i, t := range all {
		if ctx.Err() != nil {
			return nil, Lost{}, context.Cause(ctx)
		}
		name := t.pairs[0].Tensor
		rows, columns := t.pairs[0].extent()
		f, err := lowrank.OfMatrix(o.merge(&t), rows, columns, o.Rank)
		if err != nil {
			return nil, Lost{}, fmt.Errorf("tensor %q: %w", name, err)
		}
		out.Pairs = append(out.Pairs, t.pairs[0].withFactors(f.Up, f.Down, f.Rank))
		lost.add(name, f)
		done(i+1, len(all))
	}
	alphas := make([]float64, len(out.Pairs))
	for i := range out.Pairs {
		alphas[i] = float64(out.Pairs[i].Rank)
	}
	out.settle(alphas)
	return out, lost.sum(), nil
}

// merge gives one tensor's merged change.
func (o Sparse) merge(t *parts) []float64 {
	rows, columns := t.pairs[0].extent()
	changes := make([][]float32, len(t.pairs))
	for i, p := range t.pairs {
		changes[i] = make([]float32, rows*columns)
		p.addTo(changes[i], t.own[i])
		switch {
		case o.Density == 1:
		case o.Random:
			o.drop(changes[i], o.chance(t.name(), i))
		default:
			keepLargest(changes[i], int(o.Density*float64(len(changes[i]))))
		}
	}
	out := make([]float64, rows*columns)
	for k := range out {
		sign, sum, n := 0.0, 0.0, 0
		for _, c := range changes {
			sign += float64(c[k])
		}
		for i, c := range changes {
			if v := float64(c[k]); !o.Elect || v > 0 && sign >= 0 || v < 0 && sign < 0 {
				sum += t.weights[i] * v
				n++
			}
		}
		if o.Elect && n > 1 {
			sum /= float64(n)
		}
		out[k] = sum
	}
	return out
}

// addTo adds scale times the pair's product to a matrix of the tensor's rows.
func (p *Pair) addTo(x []float32, scale float64) {
	up, down := p.factors()
	rows, columns := p.extent()
	t := term{scale: scale, rank: p.Rank, rows: int64(rows), up: up, down: down}
	sum := make([]float64, columns)
	for o := range rows {
		clear(sum)
		t.addRow(sum, int64(o))
		for i, v := range sum {
			x[o*columns+i] += float32(v)
		}
	}
}

// chance says of one change after the other whether it is kept: for each adapter and tensor others, whatever else is
// merged.
func (o Sparse) chance(tensor string, adapter int) func() bool {
	if o.kept != nil {
		return o.kept(tensor, adapter)
	}
	h := fnv.New64a()
	fmt.Fprint(h, tensor, " ", adapter)
	r := rand.New(rand.NewPCG(o.Seed, h.Sum64()))
	return func() bool { return r.Float64() < o.Density }
}

// drop zeroes what is not kept, and makes the rest so much larger that the sum is to be expected the same.
func (o Sparse) drop(x []float32, kept func() bool) {
	for i, v := range x {
		x[i] = 0
		if kept() {
			x[i] = float32(float64(v) / o.Density)
		}
	}
}

// keepLargest zeroes all but the n numbers of largest magnitude; of equal ones the first are kept. Magnitudes sort like
// their bits, so that counting the upper half of these, and then the lower, finds the least that is kept.
func keepLargest(x []float32, n int) {
	if n >= len(x) {
		return
	}
	prefix, left := uint32(0), n
	for _, shift := range []uint{16, 0} {
		var counts [1 << 16]int
		for _, v := range x {
			if bits := magnitude(v); shift == 16 || bits>>16 == prefix {
				counts[bits>>shift&0xffff]++
			}
		}
		digit := len(counts) - 1
		for ; digit > 0 && counts[digit] < left; digit-- {
			left -= counts[digit]
		}
		prefix = prefix<<16 | uint32(digit)
	}
	for i, v := range x {
		switch bits := magnitude(v); {
		case bits > prefix:
		case bits == prefix && left > 0:
			left--
		default:
			x[i] = 0
		}
	}
}

// magnitude is a number's bits without its sign.
func magnitude(x float32) uint32 { return math.Float32bits(x) &^ (1 << 31) }
