// Package lowrank finds thin factors of matrices: the product of two thin ones that is nearest to a matrix. It knows no
// adapter and no file.
package lowrank

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/lapack/lapack64"
	"gonum.org/v1/gonum/mat"
)

// Factors are Up·Down, near to a matrix of some rows and columns. Both are in the order of rows; each has the square
// roots of the singular values.
type Factors struct {
	Rank     int
	Up, Down []float32 // [rows × Rank], [Rank × columns]
	// Energy is the sum of the squares of the matrix, and Lost what of it the factors leave out.
	Energy, Lost float64
}

// OfProduct gives the nearest factors of at most that rank to up·down, matrices of rows × inner and inner × columns
// (Eckart and Young 1936): the thin halves are decomposed, and the product is never made where it is larger.
func OfProduct(up, down []float32, rows, inner, columns, rank int) (Factors, error) {
	if inner >= min(rows, columns) {
		product := blas64.General{Rows: rows, Cols: columns, Stride: columns, Data: make([]float64, rows*columns)}
		blas64.Gemm(blas.NoTrans, blas.NoTrans, 1, general(up, rows, inner), general(down, inner, columns), 0, product)
		return exact(product, rank)
	}
	left, right := general(up, rows, inner), transposed(general(down, inner, columns))
	upper, lower := orthonormal(left), orthonormal(right)
	core := square(inner)
	blas64.Gemm(blas.NoTrans, blas.Trans, 1, upper, lower, 0, core)
	return between(left, core, right, rank)
}

// OfMatrix gives factors of at most that rank of a matrix, whose numbers it may change. Of small matrices they are the
// nearest. Of larger ones they are found by subspace iteration from a random start that is always the same (Halko,
// Martinsson and Tropp 2011, algorithm 4.4), until an iteration gains less than settled of the matrix's energy.
func OfMatrix(w []float64, rows, columns, rank int) (Factors, error) {
	m := blas64.General{Rows: rows, Cols: columns, Stride: columns, Data: w}
	width := rank + oversampling
	if least := min(rows, columns); least <= small || 2*width >= least {
		return exact(m, rank)
	}
	r := rand.New(rand.NewPCG(uint64(rows), uint64(columns)))
	left := blas64.General{Rows: rows, Cols: width, Stride: width, Data: make([]float64, rows*width)}
	right := blas64.General{Rows: columns, Cols: width, Stride: width, Data: make([]float64, columns*width)}
	for i := range right.Data {
		right.Data[i] = r.NormFloat64()
	}
	energy, before := energyOf(w), 0.0
	for range iterations {
		blas64.Gemm(blas.NoTrans, blas.NoTrans, 1, m, right, 0, left)
		orthonormal(left)
		blas64.Gemm(blas.Trans, blas.NoTrans, 1, m, left, 0, right)
		core := transposed(orthonormal(right))
		f, err := values(core)
		if err != nil {
			return Factors{}, err
		}
		found := energyOf(f[:rank])
		if found-before <= settled*energy {
			return lossOf(energy)(between(left, core, right, rank))
		}
		before = found
	}
	return Factors{}, fmt.Errorf("%d iterations did not find the %d largest singular values of a matrix of %d × %d",
		iterations, rank, rows, columns)
}

// QR gives the first columns of a matrix's Q, so many as the rank, as Up, and as Down the first rows of its R. Both
// follow from the matrix's first columns: of the rest, R is what Q makes of it. The numbers of the matrix stay.
func QR(w []float64, rows, columns, rank int) Factors {
	m := blas64.General{Rows: rows, Cols: columns, Stride: columns, Data: w}
	q := blas64.General{Rows: rows, Cols: rank, Stride: rank, Data: make([]float64, rows*rank)}
	for i := range rows {
		copy(q.Data[i*rank:(i+1)*rank], w[i*columns:])
	}
	orthonormal(q)
	r := blas64.General{Rows: rank, Cols: columns, Stride: columns, Data: make([]float64, rank*columns)}
	blas64.Gemm(blas.Trans, blas.NoTrans, 1, q, m, 0, r)
	f := Factors{Rank: rank, Up: rounded(q.Data), Down: rounded(r.Data), Energy: energyOf(w)}
	f.Lost = max(0, f.Energy-energyOf(r.Data))
	return f
}

func rounded(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}

const (
	// oversampling is how many more directions are followed than are asked for: those at the edge settle last.
	oversampling = 16
	// small is the size up to which a decomposition of the whole matrix takes less than a second.
	small = 256
	// settled is the share of the energy that an iteration must gain to be followed by another.
	settled = 1e-5
	// iterations is far beyond what settling takes: the gains fall, and sum up to the energy.
	iterations = 1000
)

// lossOf corrects what is lost of a matrix of which the factors' core is a part.
func lossOf(energy float64) func(Factors, error) (Factors, error) {
	return func(f Factors, err error) (Factors, error) {
		f.Lost = max(0, energy-(f.Energy-f.Lost))
		f.Energy = energy
		return f, err
	}
}

// exact decomposes the whole matrix.
func exact(m blas64.General, rank int) (Factors, error) {
	if m.Rows < m.Cols { // gonum's is for tall ones faster
		f, err := exact(transposed(m), rank)
		f.Up, f.Down = flipped(f.Down, f.Rank, m.Rows), flipped(f.Up, m.Cols, f.Rank)
		return f, err
	}
	core := orthonormal(m)
	return between(m, core, identity(m.Cols), rank)
}

// between gives the factors of left·core·rightᵀ, whose outer ones have orthonormal columns.
func between(left, core, right blas64.General, rank int) (Factors, error) {
	var svd mat.SVD
	if !svd.Factorize(mat.NewDense(core.Rows, core.Cols, core.Data), mat.SVDThin) {
		return Factors{}, errUnsettled
	}
	s := svd.Values(nil)
	rank = min(rank, len(s))
	var u, v mat.Dense
	svd.UTo(&u)
	svd.VTo(&v)
	f := Factors{Rank: rank, Energy: energyOf(s), Lost: energyOf(s[rank:])}
	f.Up = scaled(left, &u, s[:rank])
	f.Down = flipped(scaled(right, &v, s[:rank]), right.Rows, rank)
	return f, nil
}

var errUnsettled = errors.New("the singular values of a matrix cannot be computed: it holds numbers that are not " +
	"finite, or as good as")

func values(core blas64.General) ([]float64, error) {
	var svd mat.SVD
	if !svd.Factorize(mat.NewDense(core.Rows, core.Cols, core.Data), mat.SVDNone) {
		return nil, errUnsettled
	}
	return svd.Values(nil), nil
}

// scaled gives the first columns of outer·inner, each times the square root of its singular value.
func scaled(outer blas64.General, inner *mat.Dense, s []float64) []float32 {
	out := blas64.General{Rows: outer.Rows, Cols: len(s), Stride: len(s), Data: make([]float64, outer.Rows*len(s))}
	cut := inner.RawMatrix()
	cut.Cols = len(s)
	blas64.Gemm(blas.NoTrans, blas.NoTrans, 1, outer, cut, 0, out)
	x := make([]float32, len(out.Data))
	for i, v := range out.Data {
		x[i] = float32(v * math.Sqrt(s[i%len(s)]))
	}
	return x
}

// orthonormal puts an orthonormal basis of a tall matrix's columns in its place and gives the triangle that makes the
// matrix of it.
func orthonormal(m blas64.General) (triangle blas64.General) {
	n := m.Cols
	tau, size := make([]float64, n), make([]float64, 1)
	lapack64.Geqrf(m, tau, size, -1)
	work := make([]float64, int(size[0]))
	lapack64.Geqrf(m, tau, work, len(work))
	triangle = square(n)
	for i := range n {
		copy(triangle.Data[i*n+i:(i+1)*n], m.Data[i*m.Stride+i:i*m.Stride+n])
	}
	lapack64.Orgqr(m, tau, size, -1)
	work = make([]float64, int(size[0]))
	lapack64.Orgqr(m, tau, work, len(work))
	return triangle
}

func general(x []float32, rows, columns int) blas64.General {
	m := blas64.General{Rows: rows, Cols: columns, Stride: columns, Data: make([]float64, len(x))}
	for i, v := range x {
		m.Data[i] = float64(v)
	}
	return m
}

func square(n int) blas64.General {
	return blas64.General{Rows: n, Cols: n, Stride: n, Data: make([]float64, n*n)}
}

func identity(n int) blas64.General {
	m := square(n)
	for i := range n {
		m.Data[i*n+i] = 1
	}
	return m
}

func transposed(m blas64.General) blas64.General {
	return blas64.General{Rows: m.Cols, Cols: m.Rows, Stride: m.Rows, Data: flipped(m.Data, m.Rows, m.Cols)}
}

// flipped is a matrix of rows × columns with them exchanged.
func flipped[F float32 | float64](x []F, rows, columns int) []F {
	out := make([]F, len(x))
	for i := range rows {
		for j, v := range x[i*columns : (i+1)*columns] {
			out[j*rows+i] = v
		}
	}
	return out
}

func energyOf(x []float64) (sum float64) {
	for _, v := range x {
		sum += v * v
	}
	return sum
}
