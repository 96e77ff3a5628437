package kernels

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// TestAdafactor holds an update to its formula in float64. The means are kept in F32, and sums have an order of their
// own.
func TestAdafactor(t *testing.T) {
	const tol = 1e-6
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(39, 40))
		for _, clip := range []float64{0.1, 1e3} {
			f := AdafactorConstants{Scale: 0.7, Decay: 0.4, Eps: 1e-3, Keep: 0.999, Rate: 0.1, Clip: clip}
			for _, s := range [][2]int{{1, 1}, {5, 1}, {64, 3}, {130, 7}} {
				n, rows := s[0], s[1]
				x, g, fr, fc := randomMatrix(r, n, rows), randomMatrix(r, n, rows), newMatrix(1, rows), newMatrix(n, 1)
				for i := range rows {
					fr.row(i)[0] = float32(i) + 1
				}
				for i := range n {
					fc.row(0)[i] = float32(i)/10 + 1
				}
				wantR, wantC, all := make([]float64, rows), make([]float64, n), 0.0
				for i := range rows {
					wantR[i] = f.Decay * float64(fr.row(i)[0])
				}
				for i := range n {
					wantC[i] = f.Decay * float64(fc.row(0)[i])
				}
				square := func(i, k int) float64 { d := f.Scale * float64(g.row(i)[k]); return d*d + f.Eps }
				for i := range rows {
					for k := range n {
						wantR[i] += (1 - f.Decay) * square(i, k) / float64(n)
						wantC[k] += (1 - f.Decay) * square(i, k) / float64(rows)
					}
				}
				mean := 0.0
				for _, x := range wantR {
					mean += x / float64(rows)
				}
				u := func(i, k int) float64 {
					return f.Scale * float64(g.row(i)[k]) / math.Sqrt(wantR[i]/mean*wantC[k])
				}
				for i := range rows {
					for k := range n {
						all += u(i, k) * u(i, k)
					}
				}
				over := max(1, math.Sqrt(all/float64(n*rows))/clip)
				for _, nth := range []int{1, 3} {
					gx, gr, gc, bad, sums := x.clone(), fr.clone(), fc.clone(), newMatrix(1, rows), make([]float64,
						rows)
					sum := Matrix(unsafe.Pointer(&sums[0]), F64, 1, int64(rows), 8)
					for _, call := range []Call{
						OpAdafactorRows.Call(None{}, gr.arg(), g.arg(), Constants(&f)),
						OpAdafactorColumns.Call(None{}, gc.arg(), g.arg(), Constants(&f)),
						OpAdafactorSquares.Call(None{}, sum, gr.arg(), gc.arg(), g.arg(), Constants(&f)),
						OpAdafactor.Call(None{}, gx.arg(), gr.arg(), gc.arg(), g.arg(), sum, Constants(&f), Arg{},
							bad.arg()),
					} {
						if err := runCall(&call, nth); err != nil {
							t.Fatal(err)
						}
					}
					for _, m := range []*matrix{gx, gr, gc} {
						m.checkGuards(t)
					}
					for i := range rows {
						for k := range n {
							want := f.Keep*float64(x.row(i)[k]) - f.Rate*u(i, k)/over
							if math.Abs(float64(gx.row(i)[k])-want) > tol || bad.row(i)[0] != 0 {
								t.Fatalf("%v, clip %g: number %d of row %d is %v, want %v", s, clip, k, i,
									gx.row(i)[k], want)
							}
						}
					}
				}
			}
		}
	})
}
