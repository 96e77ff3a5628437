package kernels

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestAverage holds the moving average to its formula in float64, whose F32 rounding the kernel shares.
func TestAverage(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r, f := rand.New(rand.NewPCG(61, 62)), AverageConstants{Share: 0.3}
		for _, n := range []int{0, 1, 16, 33, 1000} {
			a, x := fill(r, newStrided(n, 2, n+1)), fill(r, newStrided(n, 2, n+3))
			for _, nth := range []int{1, 3} {
				got, bad := a.clone(), newMatrix(1, 2)
				call := OpAverage.Call(None{}, got.arg(), x.arg(), Constants(&f), bad.arg())
				if err := runCall(&call, nth); err != nil {
					t.Fatal(err)
				}
				got.checkGuards(t)
				for row := range 2 {
					for i, g := range got.row(row) {
						was := float64(a.row(row)[i])
						want := was + f.Share*(float64(x.row(row)[i])-was)
						// A fused multiply-add rounds a difference of numbers of about 1 otherwise in float64.
						if math.Abs(float64(g)-want) > math.Abs(want)*0x1p-24+1e-15 || bad.row(row)[0] != 0 {
							t.Fatalf("n %d, number %d of row %d: %v, want %v", n, i, row, g, want)
						}
					}
				}
			}
		}
		a, x, bad := newMatrix(19, 2), newMatrix(19, 2), newMatrix(1, 2)
		x.row(1)[18] = float32(math.NaN())
		call := OpAverage.Call(None{}, a.arg(), x.arg(), Constants(&f), bad.arg())
		if err := runCall(&call, 2); err != nil {
			t.Fatal(err)
		}
		if b := bad.row(1)[0]; bad.row(0)[0] != 0 || b == b {
			t.Errorf("verdicts %v and %v, want 0 and no number", bad.row(0)[0], b)
		}
	})
}
