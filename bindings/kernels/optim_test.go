package kernels

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// TestAdamW holds an update to its formula in float64, whose F32 rounding the kernel shares: one unit in the last place
// is what a fused multiply-add may move.
func TestAdamW(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(31, 32))
		f := AdamWConstants{Scale: 0.7, Beta1: 0.9, Beta2: 0.99, Keep: 0.999, Rate: 0.1, Correct2: 0.3, Eps: 1e-8}
		for _, n := range []int{0, 1, 3, 8, 15, 16, 33, 1000} {
			x, m, v, g := fill(r, newStrided(n, 2, n+1)), fill(r, newStrided(n, 2, n+3)), fill(r, newStrided(n, 2, n)),
				fill(r, newStrided(n, 2, n+2))
			for row := range 2 {
				for i := range v.row(row) {
					v.row(row)[i] *= v.row(row)[i]
				}
			}
			for _, nth := range []int{1, 3} {
				gx, gm, gv, bad := x.clone(), m.clone(), v.clone(), newMatrix(1, 2)
				call := OpAdamW.Call(None{}, gx.arg(), gm.arg(), gv.arg(), g.arg(), Constants(&f), Arg{}, bad.arg())
				if err := runCall(&call, nth); err != nil {
					t.Fatal(err)
				}
				for _, got := range []*matrix{gx, gm, gv} {
					got.checkGuards(t)
				}
				for row := range 2 {
					if bad.row(row)[0] != 0 {
						t.Errorf("n %d: finite numbers are said not to be", n)
					}
					for i := range n {
						d := f.Scale * float64(g.row(row)[i])
						wm := f.Beta1*float64(m.row(row)[i]) + (1-f.Beta1)*d
						wv := f.Beta2*float64(v.row(row)[i]) + (1-f.Beta2)*d*d
						wx := f.Keep*float64(x.row(row)[i]) - f.Rate*wm/(math.Sqrt(wv)/f.Correct2+f.Eps)
						for _, p := range []struct {
							what string
							got  float32
							want float64
						}{{"m", gm.row(row)[i], wm}, {"v", gv.row(row)[i], wv}, {"x", gx.row(row)[i], wx}} {
							if math.Abs(float64(p.got)-p.want) > math.Abs(p.want)*0x1p-23 {
								t.Fatalf("n %d, number %d of row %d: %s is %v, want %v", n, i, row, p.what, p.got,
									p.want)
							}
						}
					}
				}
			}
		}
		for _, spoil := range []float32{float32(math.NaN()), float32(math.Inf(1))} {
			for _, at := range []int{0, 18} {
				x, bad := fill(r, newMatrix(19, 2)), newMatrix(1, 2)
				x.row(1)[at] = spoil
				call := OpAdamW.Call(None{}, x.arg(), newMatrix(19, 2).arg(), newMatrix(19, 2).arg(),
					randomMatrix(r, 19, 2).arg(), Constants(&f),
					Arg{}, bad.arg())
				if err := runCall(&call, 2); err != nil {
					t.Fatal(err)
				}
				if b := bad.row(1)[0]; bad.row(0)[0] != 0 || b == b {
					t.Errorf("%v at %d of row 1: verdicts %v and %v, want 0 and no number", spoil, at, bad.row(0)[0], b)
				}
			}
		}
	})
}

// TestSquares: the order of the sum is the kernel's own, so its last bits may differ from a plain one's.
func TestSquares(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(33, 34))
		for _, n := range []int{0, 1, 7, 32, 33, 5000} {
			x, sums := fill(r, newStrided(n, 3, n+1)), make([]float64, 4)
			call := OpSquares.Call(None{}, Matrix(unsafe.Pointer(&sums[0]), F64, 1, 3, 8), x.arg())
			if err := runCall(&call, 2); err != nil {
				t.Fatal(err)
			}
			if sums[3] != 0 {
				t.Fatal("a number behind the sums was overwritten")
			}
			for row := range 3 {
				want := 0.0
				for _, v := range x.row(row) {
					want += float64(v) * float64(v)
				}
				got := sums[row]
				if math.Abs(got-want) > 1e-13*want {
					t.Errorf("n %d row %d: %v, want %v", n, row, got, want)
				}
			}
		}
	})
}
