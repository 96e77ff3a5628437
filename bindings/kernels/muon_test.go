package kernels

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// TestMuon holds what is beside the products to its formula in float64, whose F32 rounding the kernels share.
func TestMuon(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(41, 42))
		f := MuonConstants{Scale: 0.7, Momentum: 0.95, Keep: 0.999, Rate: 0.1}
		for _, s := range [][2]int{{1, 1}, {5, 1}, {64, 3}, {130, 7}} {
			n, rows := s[0], s[1]
			x, m, g := fill(r, newStrided(n, rows, n+1)), fill(r, newStrided(n, rows, n+3)), randomMatrix(r, n, rows)
			for _, nth := range []int{1, 3} {
				gx, gm, u, unit, bad := x.clone(), m.clone(), newMatrix(n, rows), newMatrix(n, rows), newMatrix(1, rows)
				sums := make([]float64, rows)
				sum := Matrix(unsafe.Pointer(&sums[0]), F64, 1, int64(rows), 8)
				for _, call := range []Call{
					OpMuonMoment.Call(None{}, gm.arg(), g.arg(), Constants(&f), u.arg()),
					OpSquares.Call(None{}, sum, u.arg()),
					OpMuonUnit.Call(None{}, unit.arg(), u.arg(), sum),
					OpMuon.Call(None{}, gx.arg(), unit.arg(), Constants(&f), Arg{}, bad.arg()),
				} {
					if err := runCall(&call, nth); err != nil {
						t.Fatal(err)
					}
				}
				for _, o := range []*matrix{gx, gm, u, unit, bad} {
					o.checkGuards(t)
				}
				norm := 0.0
				for _, s := range sums {
					norm += s
				}
				norm = math.Sqrt(norm)
				for row := range rows {
					for i := range n {
						d := f.Scale * float64(g.row(row)[i])
						wm := f.Momentum*float64(m.row(row)[i]) + (1-f.Momentum)*d
						wu := f.Momentum*wm + (1-f.Momentum)*d
						wunit := float64(u.row(row)[i]) / norm
						wx := f.Keep*float64(x.row(row)[i]) - f.Rate*float64(unit.row(row)[i])
						for k, o := range []*matrix{gm, u, unit, gx} {
							if want := []float64{wm, wu, wunit, wx}[k]; !rounded(o.row(row)[i], want) {
								t.Fatalf("%v: output %d, number %d of row %d is %v, want %v", s, k, i, row,
									o.row(row)[i], want)
							}
						}
						if bad.row(row)[0] != 0 {
							t.Fatalf("verdict %v", bad.row(row)[0])
						}
					}
				}
			}
		}
		muonNoNumbers(t, &f)
	})
}

// muonNoNumbers: nothing is divided by zero, and a number that is none spoils the row that it is in.
func muonNoNumbers(t *testing.T, f *MuonConstants) {
	zero, x, sums, bad := newMatrix(3, 2), newMatrix(3, 2), make([]float64, 2), newMatrix(1, 2)
	sum := Matrix(unsafe.Pointer(&sums[0]), F64, 1, 2, 8)
	run := func(call Call) {
		t.Helper()
		if err := runCall(&call, 2); err != nil {
			t.Fatal(err)
		}
	}
	run(OpMuonUnit.Call(None{}, zero.arg(), zero.arg(), sum))
	if got := zero.row(1)[2]; got != 0 {
		t.Errorf("zeros over their norm are %v", got)
	}
	zero.row(1)[2] = float32(math.NaN())
	run(OpMuon.Call(None{}, x.arg(), zero.arg(), Constants(f), Arg{}, bad.arg()))
	if b := bad.row(1)[0]; bad.row(0)[0] != 0 || b == b {
		t.Errorf("verdicts %v and %v, want 0 and no number", bad.row(0)[0], b)
	}
	sums[1] = math.NaN()
	run(OpMuonUnit.Call(None{}, x.arg(), x.arg(), sum))
	if got := x.row(0)[0]; got == got {
		t.Errorf("over a norm that is no number: %v", got)
	}
}
