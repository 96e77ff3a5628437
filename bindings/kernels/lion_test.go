package kernels

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestLion holds an update to its formula in float64, whose F32 rounding the kernel shares.
func TestLion(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(35, 36))
		f := LionConstants{Scale: 0.7, Beta1: 0.9, Beta2: 0.99, Keep: 0.999, Rate: 0.1}
		for _, n := range []int{0, 1, 3, 8, 16, 33, 1000} {
			x, m, g := fill(r, newStrided(n, 2, n+1)), fill(r, newStrided(n, 2, n+3)), fill(r, newStrided(n, 2, n+2))
			if n > 2 { // no direction
				m.row(1)[2], g.row(1)[2] = 0, 0
			}
			for _, nth := range []int{1, 3} {
				gx, gm, bad := x.clone(), m.clone(), newMatrix(1, 2)
				call := OpLion.Call(None{}, gx.arg(), gm.arg(), g.arg(), Constants(&f), Arg{}, bad.arg())
				if err := runCall(&call, nth); err != nil {
					t.Fatal(err)
				}
				gx.checkGuards(t)
				gm.checkGuards(t)
				for row := range 2 {
					for i := range n {
						d, old := f.Scale*float64(g.row(row)[i]), float64(m.row(row)[i])
						sign := 0.0
						if c := f.Beta1*old + (1-f.Beta1)*d; c != 0 {
							sign = math.Copysign(1, c)
						}
						wx, wm := f.Keep*float64(x.row(row)[i])-f.Rate*sign, f.Beta2*old+(1-f.Beta2)*d
						if bad.row(row)[0] != 0 || !rounded(gx.row(row)[i], wx) || !rounded(gm.row(row)[i], wm) {
							t.Fatalf("n %d, number %d of row %d: %v and %v, want %v and %v; verdict %v", n, i, row,
								gx.row(row)[i], gm.row(row)[i], wx, wm, bad.row(row)[0])
						}
					}
				}
			}
		}
		for which := range 3 { // a number that is none in x, m or the gradient
			args := []*matrix{randomMatrix(r, 19, 2), randomMatrix(r, 19, 2), randomMatrix(r, 19, 2)}
			args[which].row(1)[18] = float32(math.NaN())
			bad := newMatrix(1, 2)
			call := OpLion.Call(None{}, args[0].arg(), args[1].arg(), args[2].arg(), Constants(&f), Arg{}, bad.arg())
			if err := runCall(&call, 2); err != nil {
				t.Fatal(err)
			}
			if b := bad.row(1)[0]; bad.row(0)[0] != 0 || b == b {
				t.Errorf("argument %d: verdicts %v and %v, want 0 and no number", which, bad.row(0)[0], b)
			}
		}
	})
}

// rounded: one unit in the last place is what a fused multiply-add may move.
func rounded(got float32, want float64) bool {
	return math.Abs(float64(got)-want) <= math.Abs(want)*0x1p-23
}
