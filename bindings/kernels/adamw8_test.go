package kernels

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// TestAdamW8 holds an update, and the codes of its moments, to plain loops in float64.
func TestAdamW8(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(37, 38))
		f := AdamWConstants{Scale: 0.7, Beta1: 0.9, Beta2: 0.99, Keep: 0.999, Rate: 0.1, Correct2: 0.3, Eps: 1e-8}
		tables := newMatrix(256, 2) // of m from −1 to 1, of v from 0 to 1
		for i := range 256 {
			tables.row(0)[i], tables.row(1)[i] = float32(i-128)/127.5+1/255., float32(i)/255
		}
		tables.row(0)[127] = 0
		for _, n := range []int{1, 3, 255, 256} {
			const rows = 3
			words := (n + 3) / 4
			x, g, mosts := randomMatrix(r, n, rows), randomMatrix(r, n, rows), randomMatrix(r, 1, 2*rows)
			codes := make([]uint8, 2*4*words*rows)
			for i := range codes {
				codes[i] = uint8(r.IntN(256))
			}
			if n > 1 {
				g.row(1)[0] = 0
			}
			for _, nth := range []int{1, 2} {
				gx, bad, c, most := x.clone(), newMatrix(1, rows), append([]uint8(nil), codes...), make([]float32,
					2*rows)
				for i := range most {
					most[i] = abs32(mosts.row(i)[0])
				}
				was := append([]float32(nil), most...)
				arg := func(at int) Arg {
					return Matrix(unsafe.Pointer(&c[at*4*words*rows]), I32, int64(words), rows, int64(4*words))
				}
				largest := func(at int) Arg { return Matrix(unsafe.Pointer(&most[at*rows]), F32, 1, rows, 4) }
				call := OpAdamW8.Call(None{}, gx.arg(), arg(0), arg(1), largest(0), largest(1), g.arg(), Constants(&f),
					tables.arg(), Arg{}, bad.arg())
				if err := runCall(&call, nth); err != nil {
					t.Fatal(err)
				}
				gx.checkGuards(t)
				for row := range rows {
					m, v := make([]float64, n), make([]float64, n)
					top := [2]float64{}
					for i := range n {
						at, d := row*4*words+i, f.Scale*float64(g.row(row)[i])
						m[i] = f.Beta1*float64(tables.row(0)[codes[at]])*float64(was[row]) + (1-f.Beta1)*d
						v[i] = f.Beta2*float64(tables.row(1)[codes[4*words*rows+at]])*float64(was[rows+row]) +
							(1-f.Beta2)*d*d
						top[0], top[1] = max(top[0], math.Abs(m[i])), max(top[1], v[i])
						want := f.Keep*float64(x.row(row)[i]) - f.Rate*m[i]/(math.Sqrt(v[i])/f.Correct2+f.Eps)
						if !rounded(gx.row(row)[i], want) {
							t.Fatalf("n %d, number %d of row %d: %v, want %v", n, i, row, gx.row(row)[i], want)
						}
					}
					for k, moment := range [][]float64{m, v} {
						if got := most[k*rows+row]; !rounded(got, top[k]) || bad.row(row)[0] != 0 {
							t.Fatalf("n %d, row %d: the largest is %v, want %v", n, row, got, top[k])
						}
						for i := range n {
							code, ratio := c[k*4*words*rows+row*4*words+i], moment[i]/float64(most[k*rows+row])
							got := float64(tables.row(k)[code])
							best := math.Inf(1)
							for _, q := range tables.row(k) {
								best = min(best, math.Abs(float64(q)-ratio))
							}
							beside := k == 0 && code == 126 || k == 1 && code == 1 // of zero
							kept := k == 0 && ratio >= 0 || k == 1 && ratio == 0 || got != 0
							if off := math.Abs(got - ratio); !kept || off > best+1e-9 && !beside {
								t.Fatalf("n %d, row %d: %v is kept as %v", n, row, ratio, got)
							}
						}
					}
				}
			}
		}
	})
}

func abs32(x float32) float32 { return float32(math.Abs(float64(x))) }
