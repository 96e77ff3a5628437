package lowrank

import (
	"fmt"
	"math"
)

// Components are the directions in which vectors vary most, found a batch of them at a time (incremental principal
// components: Ross, Lim, Lin and Yang 2008, as PEFT's IncrementalPCA has it).
type Components struct {
	// Vectors are as many rows of n numbers as there are components, each of length 1, the largest variance first; nil
	// before the first batch.
	Vectors []float64

	rank, n int
	seen    float64   // vectors so far
	mean    []float64 // of them
	values  []float64 // singular values
}

// NewComponents looks for so many components of vectors of n numbers, at most n.
func NewComponents(rank, n int) (*Components, error) {
	if rank < 1 || rank > n {
		return nil, fmt.Errorf("%d components of vectors of %d numbers", rank, n)
	}
	return &Components{rank: rank, n: n}, nil
}

// Add takes a batch of vectors into account, one behind the other. Changed is how far the component that changed most
// turned: 1 − its cosine to what it was, 1 for the first batch. Of a batch of fewer vectors than components nothing can
// be learned: ok is false, and nothing changes.
func (c *Components) Add(x []float32) (changed float64, ok bool, err error) {
	rows := len(x) / c.n
	if rows < c.rank {
		return 1, false, nil
	}
	batch := make([]float64, c.n)
	for i, v := range x[:rows*c.n] {
		batch[i%c.n] += float64(v) / float64(rows)
	}
	var w []float64
	if c.Vectors != nil {
		for k, s := range c.values {
			for _, v := range c.Vectors[k*c.n : (k+1)*c.n] {
				w = append(w, s*v)
			}
		}
	}
	for i, v := range x[:rows*c.n] {
		w = append(w, float64(v)-batch[i%c.n])
	}
	total := c.seen + float64(rows)
	mean := batch
	if c.Vectors != nil { // what the batch's mean adds to its variance
		factor := math.Sqrt(c.seen / total * float64(rows))
		mean = make([]float64, c.n)
		for i, m := range c.mean {
			w = append(w, factor*(m-batch[i]))
			mean[i] = (c.seen*m + float64(rows)*batch[i]) / total
		}
	}
	f, err := OfMatrix(w, len(w)/c.n, c.n, c.rank)
	if err != nil {
		return 1, false, err
	}
	before := c.Vectors
	c.take(f)
	c.seen, c.mean = total, mean
	return c.turned(before), true, nil
}

// take makes components of factors, whose rows are as long as the roots of the singular values. Of each the number of
// the largest size is above 0.
func (c *Components) take(f Factors) {
	c.Vectors, c.values = make([]float64, f.Rank*c.n), make([]float64, f.Rank)
	for k := range f.Rank {
		row, to := f.Down[k*c.n:(k+1)*c.n], c.Vectors[k*c.n:(k+1)*c.n]
		largest := float32(0)
		for _, v := range row {
			c.values[k] += float64(v) * float64(v)
			if abs(v) > abs(largest) {
				largest = v
			}
		}
		if largest == 0 {
			continue // fewer directions than components
		}
		length := math.Copysign(math.Sqrt(c.values[k]), float64(largest))
		for i, v := range row {
			to[i] = float64(v) / length
		}
	}
}

func abs(x float32) float32 { return max(x, -x) }

// turned is Add's changed.
func (c *Components) turned(before []float64) (most float64) {
	if len(before) != len(c.Vectors) {
		return 1
	}
	for k := 0; k < len(before); k += c.n {
		cosine := 0.0
		for i := range c.n {
			cosine += before[k+i] * c.Vectors[k+i]
		}
		most = max(most, 1-cosine)
	}
	return most
}

// ComponentsBytes is the memory of Components, and of Add with so many vectors.
func ComponentsBytes(rank, n, vectors int) (held, adding int64) {
	rows := rank + vectors + 1
	// The stack grows to its size by appending, which has two of them at once.
	return double * int64(rank+2) * int64(n), 2*double*int64(rows)*int64(n) + Bytes(rows, n, rank)
}
