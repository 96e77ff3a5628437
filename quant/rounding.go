package quant

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/gguf"
)

// Weighting says how much a squared rounding error matters by where it stands in a matrix: as the product of its row's
// and its column's number. A nil list is all ones.
type Weighting struct {
	Rows    []float64 // of each row: [n_out]
	Columns []float64 // of each element of a row: [n_in]
}

// sampled is how many elements of a tensor, whole rows, Rounding looks at: their mean error is known to a few percent.
const sampled = 1 << 17

// RoundingElements is how many elements of a tensor Rounding looks at.
func RoundingElements(t *gguf.TensorInfo) int64 {
	return min(t.Elements()/t.Shape[0], max(1, sampled/t.Shape[0])) * t.Shape[0]
}

// roundingJobs is into how many parts a tensor's rows are cut. It does not depend on the threads, so that sums do not.
const roundingJobs = 16

// Rounding gives the weighted sum of squared errors that each of types would make of tensor i of f, whose numbers rows
// gives: as Write would round it, estimated from rows that are evenly spread where the tensor is large. Numbers beyond
// a type's range are errors.
func Rounding(ctx context.Context, f *gguf.File, rows Rows, i int, types []gguf.Type, importance Importance,
	w Weighting, threads int) ([]float64, error) {
	t := &f.Tensors[i]
	width := t.Shape[0]
	all := t.Elements() / width
	n := RoundingElements(t) / width
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	parts := make([]roundingPart, min(roundingJobs, n))
	next := make(chan int, len(parts))
	for k := range parts {
		next <- k
	}
	close(next)
	var wait sync.WaitGroup
	for range min(threads, len(parts)) {
		wait.Go(func() {
			for k := range next {
				p := &parts[k]
				p.file, p.tensor, p.rows, p.types, p.importance, p.weigh = f, t, rows, types, importance, w
				for at := int64(k); at < n && p.err == nil && ctx.Err() == nil; at += int64(len(parts)) {
					p.err = p.add(i, at*all/n)
				}
			}
		})
	}
	wait.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	sums, seen := make([]float64, len(types)), 0.0
	for k := range parts {
		if parts[k].err != nil {
			return nil, parts[k].err
		}
		for j, x := range parts[k].sums {
			sums[j] += x
		}
		seen += parts[k].seen
	}
	if seen > 0 { // rows that matter little say little of the others
		whole := float64(all)
		if w.Rows != nil {
			whole = 0
			for _, x := range w.Rows {
				whole += x
			}
			whole *= float64(all) / float64(len(w.Rows)) // of each of several matrices
		}
		for j := range sums {
			sums[j] *= whole / seen
		}
	}
	return sums, nil
}

// A roundingPart sums over some rows of a tensor.
type roundingPart struct {
	file       *gguf.File
	tensor     *gguf.TensorInfo
	rows       Rows
	types      []gguf.Type
	importance Importance
	weigh      Weighting

	sums  []float64
	seen  float64 // of the rows' weights
	x, y  []float32
	bytes []byte
	err   error
}

// add adds the errors of a row.
func (p *roundingPart) add(i int, row int64) error {
	t := p.tensor
	width := t.Shape[0]
	if p.sums == nil {
		p.sums = make([]float64, len(p.types))
		p.x, p.y = make([]float32, width), make([]float32, width)
	}
	if err := p.rows.Read(i, row*width, p.x); err != nil {
		return fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	if err := checkFinite(p.file.Path(), t.Name, row*width, p.x); err != nil {
		return err
	}
	matrix, weight := int64(0), 1.0
	if len(t.Shape) > 2 {
		matrix = row / t.Shape[1]
	}
	if p.weigh.Rows != nil {
		weight = p.weigh.Rows[row%int64(len(p.weigh.Rows))]
	}
	p.seen += weight
	for j, to := range p.types {
		n, err := ggml.Type(to).RowSize(width)
		if err != nil {
			return fmt.Errorf("%s: tensor %q: %w", p.file.Path(), t.Name, err)
		}
		p.bytes = resized(p.bytes, n)
		if err := ggml.QuantizeTo(ggml.Type(to), p.bytes, p.x, width, p.importance.of(t, matrix)); err != nil {
			return fmt.Errorf("%s: tensor %q: %w", p.file.Path(), t.Name, err)
		}
		if err := ggml.DequantizeTo(ggml.Type(to), p.y, p.bytes); err != nil {
			return fmt.Errorf("%s: tensor %q: %w", p.file.Path(), t.Name, err)
		}
		sum := 0.0
		for k, v := range p.y {
			d := float64(v) - float64(p.x[k])
			if p.weigh.Columns != nil {
				sum += d * d * p.weigh.Columns[k]
			} else {
				sum += d * d
			}
		}
		if sum-sum != 0 {
			sum = maxError // beyond f16's range: Write would refuse it
		}
		p.sums[j] += weight * sum
	}
	return nil
}

// maxError is the error of what a type cannot hold: no other is as large, and sums of it are still numbers.
const maxError = 1e200
