package kernels

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// TestGate: rows are let through as they are, or are zero, whatever they hold; in place, for any threads.
func TestGate(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		for _, s := range []struct{ n, rows int }{{1, 1}, {3, 5}, {37, 11}, {64, 4}} {
			on := make([]int32, s.rows)
			for r := range on {
				on[r] = int32(r % 3) // what is not 0 lets through
			}
			x := fill(rand.New(rand.NewPCG(1, 1)), newStrided(s.n, s.rows, s.n+2))
			x.row(0)[0] = float32(math.NaN()) // behind a closed gate too
			call := func(y, x *matrix) *Call {
				c := callOf(OpGate, None{}, y, x)
				c.NArgs, c.A[2] = 3, Matrix(unsafe.Pointer(&on[0]), I32, int64(s.rows), 1, int64(4*s.rows))
				return c
			}
			y := runThreads(t, "gate", []*matrix{newMatrix(s.n, s.rows)},
				func(o []*matrix) *Call { return call(o[0], x) })[0]
			for r := range s.rows {
				for i, v := range x.row(r) {
					want := float32(0)
					if on[r] != 0 {
						want = v
					}
					if got := y.row(r)[i]; got != want {
						t.Fatalf("%+v: [%d,%d]: got %v, want %v", s, i, r, got, want)
					}
				}
			}
			over := runThreads(t, "gate", []*matrix{x}, func(o []*matrix) *Call { return call(o[0], o[0]) })[0]
			sameBits(t, "gate in place", over, y)
		}
	})
}
