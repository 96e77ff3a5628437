package lowrank

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/blas/blas64"
)

func random(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

func product(up, down []float32, rows, inner, columns int) []float64 {
	out := make([]float64, rows*columns)
	for i := range rows {
		for k := range inner {
			for j := range columns {
				out[i*columns+j] += float64(up[i*inner+k]) * float64(down[k*columns+j])
			}
		}
	}
	return out
}

// distance is the square of what f is away from w.
func distance(w []float64, f Factors, rows, columns int) (sum float64) {
	for i, v := range product(f.Up, f.Down, rows, f.Rank, columns) {
		sum += (v - w[i]) * (v - w[i])
	}
	return sum
}

// TestProductIsMatrix: factors of a product are those of the matrix that it is, tall or wide, with an inner size below
// or above the outer ones; what they lose is what they are away.
func TestProductIsMatrix(t *testing.T) {
	for _, tt := range []struct{ rows, inner, columns, rank int }{
		{20, 6, 12, 3}, {12, 6, 20, 3}, {7, 9, 5, 2}, {5, 9, 7, 4}, {8, 3, 8, 3}, {8, 3, 8, 7}, {1, 2, 6, 1},
		{6, 2, 1, 2},
	} {
		up, down := random(tt.rows*tt.inner, 2), random(tt.inner*tt.columns, 3)
		w := product(up, down, tt.rows, tt.inner, tt.columns)
		p, err := OfProduct(up, down, tt.rows, tt.inner, tt.columns, tt.rank)
		if err != nil {
			t.Fatal(err)
		}
		m, err := OfMatrix(append([]float64(nil), w...), tt.rows, tt.columns, tt.rank)
		if err != nil {
			t.Fatal(err)
		}
		energy := energyOf(w)
		for name, f := range map[string]Factors{"product": p, "matrix": m} {
			if f.Rank > tt.rank || math.Abs(f.Energy/energy-1) > 1e-9 {
				t.Errorf("%v, %s: rank %d, energy %g; want at most %d, and %g", tt, name, f.Rank, f.Energy, tt.rank,
					energy)
			}
			if got := distance(w, f, tt.rows, tt.columns); math.Abs(got-f.Lost) > 1e-6*energy {
				t.Errorf("%v, %s: away by %g, and said to lose %g", tt, name, got, f.Lost)
			}
		}
		if math.Abs(p.Lost-m.Lost) > 1e-9*energy {
			t.Errorf("%v: the product loses %g, the matrix %g", tt, p.Lost, m.Lost)
		}
	}
}

// TestLargeMatrix: what is found by iteration is as good as the whole decomposition, where singular values fall slowly
// too.
func TestLargeMatrix(t *testing.T) {
	const rows, columns, rank = 280, 300, 8
	for name, inner := range map[string]int{"full of noise": 300, "of rank 8": 8} {
		w := product(random(rows*inner, 4), random(inner*columns, 5), rows, inner, columns)
		best, err := exact(blas64.General{Rows: rows, Cols: columns, Stride: columns,
			Data: append([]float64(nil), w...)}, rank)
		if err != nil {
			t.Fatal(err)
		}
		f, err := OfMatrix(append([]float64(nil), w...), rows, columns, rank)
		if err != nil {
			t.Fatal(err)
		}
		energy := energyOf(w)
		if more := (f.Lost - best.Lost) / energy; more < -1e-9 || more > 1e-3 {
			t.Errorf("%s: loses %g of the energy, the best %g", name, f.Lost/energy, best.Lost/energy)
		}
		if got := distance(w, f, rows, columns); math.Abs(got-f.Lost) > 1e-6*energy {
			t.Errorf("%s: away by %g, and said to lose %g", name, got, f.Lost)
		}
	}
}

func TestNothing(t *testing.T) {
	for _, size := range []int{6, 300} {
		f, err := OfMatrix(make([]float64, size*size), size, size, 2)
		if err != nil || f.Energy != 0 || f.Lost != 0 {
			t.Errorf("a matrix of zeros: %v, energy %g, lost %g", err, f.Energy, f.Lost)
		}
		for _, x := range append(f.Up, f.Down...) {
			if math.IsNaN(float64(x)) {
				t.Fatal("a factor of zeros holds NaN")
			}
		}
	}
}
