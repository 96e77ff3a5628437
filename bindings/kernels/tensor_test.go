package kernels

import (
	"fmt"
	"math"
	"testing"
)

// A mat is ne1 rows of ne0 float64: the form of the row operations' and attention's references.
type mat struct {
	ne0, ne1 int
	d        []float64
}

func newMat(ne0, ne1 int) mat     { return mat{ne0, ne1, make([]float64, ne0*ne1)} }
func (m mat) row(r int) []float64 { return m.d[r*m.ne0:][:m.ne0] }
func (m mat) absent() bool        { return m.d == nil }

// toMat is a matrix's numbers in float64; nil, an absent argument, gives an absent mat.
func toMat(x *matrix) mat {
	if x == nil {
		return mat{}
	}
	m := newMat(x.ne0, x.ne1)
	for r := range x.ne1 {
		for i, v := range x.row(r) {
			m.row(r)[i] = float64(v)
		}
	}
	return m
}

// callOf makes a call of arguments that may be absent (nil).
func callOf[K any](kernel Kernel[K], constants K, args ...*matrix) *Call {
	c := kernel.Call(constants)
	return c.with(args...)
}

// with gives the call arguments.
func (c Call) with(args ...*matrix) *Call {
	c.NArgs = int32(len(args))
	for i, a := range args {
		if a != nil {
			c.A[i] = a.arg()
		}
	}
	return &c
}

// farthest returns the largest |got − want| / (1 + |want|), and where it is.
func farthest(got *matrix, want mat) (float64, string) {
	most, at := 0.0, ""
	for r := range want.ne1 {
		for i, w := range want.row(r) {
			g := float64(got.row(r)[i])
			e := math.Abs(g-w) / (1 + math.Abs(w))
			if math.IsNaN(e) {
				e = math.Inf(1)
			}
			if e > most || at == "" {
				most, at = max(e, most), fmt.Sprintf("[%d,%d]: got %v, want %v", i, r, g, w)
			}
		}
	}
	return most, at
}

// threadCounts are the numbers of threads whose results must be equal, bit for bit.
var threadCounts = []int{1, 2, 3, 7}

// runThreads runs the call that `call` makes for given outputs once per thread count, each time from the outputs'
// initial values, and requires equal results. It returns the outputs.
func runThreads(t *testing.T, what string, outs []*matrix, call func(outs []*matrix) *Call) []*matrix {
	t.Helper()
	var first []*matrix
	for _, n := range threadCounts {
		got := make([]*matrix, len(outs))
		for i, o := range outs {
			if o != nil {
				got[i] = o.clone()
			}
		}
		if err := runCall(call(got), n); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for i, g := range got {
			if g == nil {
				continue
			}
			g.checkGuards(t)
			if first != nil {
				sameBits(t, fmt.Sprintf("%s: output %d with %d threads", what, i, n), g, first[i])
			}
		}
		if first == nil {
			first = got
		}
	}
	return first
}

// differences returns the gradient of Σ dy·forward(in) with respect to in[which] by central differences.
func differences(forward func(in []mat) mat, in []mat, dy mat, which int) mat {
	const h = 1e-5
	loss := func() float64 {
		sum := 0.0
		for i, y := range forward(in).d {
			sum += y * dy.d[i]
		}
		return sum
	}
	x := in[which]
	grad := newMat(x.ne0, x.ne1)
	for i, v := range x.d {
		x.d[i] = v + h
		up := loss()
		x.d[i] = v - h
		down := loss()
		x.d[i] = v
		grad.d[i] = (up - down) / (2 * h)
	}
	return grad
}
