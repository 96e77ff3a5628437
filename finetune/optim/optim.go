// Package optim holds learning-rate schedules and optimizers: it turns summed gradients into new parameters. It knows no
// loss, no data and no engine but its parameters' memory.
package optim

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/backend"
)

// chunk is how many numbers one goroutine takes at a time. It also fixes the order of sums: partial sums are of chunks,
// added in order, so that the number of threads does not change a result.
const chunk = 1 << 15

// A span is a chunk of one parameter.
type span struct{ param, from, to int }

func spansOf(params []*engine.Param) []span {
	var out []span
	for i, p := range params {
		for from := 0; from < int(p.Len()); from += chunk {
			out = append(out, span{i, from, min(from+chunk, int(p.Len()))})
		}
	}
	return out
}

// hostViews are numbers of each parameter where they lie.
func hostViews(params []*engine.Param, of func(*engine.Param) backend.Floats) ([][]float32, error) {
	out := make([][]float32, len(params))
	for i, p := range params {
		var err error
		if out[i], err = of(p).Host(); err != nil {
			return nil, fmt.Errorf("%q: %w", p.Name, err)
		}
	}
	return out, nil
}

// row is a slice as the kernels take it.
func row(v []float32) kernels.Arg {
	return kernels.Matrix(unsafe.Pointer(unsafe.SliceData(v)), kernels.F32, int64(len(v)), 1, 4*int64(len(v)))
}

// parallel calls do for 0…n-1 from the given number of goroutines and waits for all.
func parallel(n, threads int, do func(i int)) {
	if threads = min(threads, n); threads <= 1 {
		for i := range n {
			do(i)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range threads {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	wg.Wait()
}

// GradNorm is the Euclidean norm of all gradients together, in F64. The result does not depend on threads. If a gradient
// is not finite, the error names the first tensor that has one, and the norm is not finite.
func GradNorm(params []*engine.Param, threads int) (float64, error) {
	grads, err := hostViews(params, func(p *engine.Param) backend.Floats { return p.Grad })
	if err != nil {
		return math.NaN(), err
	}
	spans := spansOf(params)
	sums := make([]float64, len(spans))
	faults := make([]error, len(spans))
	parallel(len(spans), threads, func(i int) {
		sum := kernels.Matrix(unsafe.Pointer(&sums[i]), kernels.F64, 1, 1, 8)
		call := kernels.OpSquares.Call(kernels.None{}, sum, row(grads[spans[i].param][spans[i].from:spans[i].to]))
		faults[i] = kernels.Run(&call, 1)
	})
	if err := errors.Join(faults...); err != nil {
		return math.NaN(), err
	}
	var total float64
	for _, s := range sums {
		total += s
	}
	norm := math.Sqrt(total)
	if !math.IsNaN(norm) && !math.IsInf(norm, 0) {
		return norm, nil
	}
	for i, s := range sums {
		if math.IsNaN(s) || math.IsInf(s, 0) {
			return norm, fmt.Errorf("gradient of %q is not finite", params[spans[i].param].Name)
		}
	}
	// Squares of finite float32 numbers do not overflow float64, nor does any sum of them that fits in memory.
	return norm, fmt.Errorf("gradient norm %g is not finite", norm)
}

// ClipScale is the factor that brings a gradient of the given norm to at most limit (Pascanu et al. 2013); limit 0 leaves
// it alone.
func ClipScale(norm, limit float64) float64 {
	if limit <= 0 || norm <= limit {
		return 1
	}
	return limit / norm
}
