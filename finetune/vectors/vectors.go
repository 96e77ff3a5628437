// Package vectors holds the arithmetic of embeddings: lengths, cosines, and which of many are nearest to one. It knows
// no text, no model and no loss.
package vectors

import (
	"fmt"
	"math"
)

// A number is what vectors are made of: float32 as models give them, float64 where a loss is computed.
type number interface{ float32 | float64 }

// Dot is the sum of the products of two vectors of one length, in float64.
func Dot[T number](a, b []T) (sum float64) {
	b = b[:len(a)]
	for i, x := range a {
		sum += float64(x) * float64(b[i])
	}
	return sum
}

// Norm is the Euclidean length of a vector.
func Norm[T number](v []T) float64 { return math.Sqrt(Dot(v, v)) }

// Cosine is that of the angle between two vectors, and 0 where one of them has no length.
func Cosine[T number](a, b []T) float64 {
	n := Norm(a) * Norm(b)
	if n == 0 {
		return 0
	}
	return Dot(a, b) / n
}

// Normalize gives v the length 1, in place. A vector of zeros stays what it is, as with llama.cpp's
// common_embd_normalize.
func Normalize[T number](v []T) {
	n := Norm(v)
	if n == 0 {
		return
	}
	for i, x := range v {
		v[i] = T(float64(x) / n)
	}
}

// A Matrix is vectors of one width, one after the other.
type Matrix struct {
	Width int
	Data  []float32
}

// Of makes a Matrix of numbers, which it keeps.
func Of(width int, data []float32) (Matrix, error) {
	if width < 1 || len(data)%width != 0 {
		return Matrix{}, fmt.Errorf("%d numbers are no vectors of width %d", len(data), width)
	}
	return Matrix{width, data}, nil
}

// Len is the number of vectors.
func (m Matrix) Len() int { return len(m.Data) / m.Width }

// Row is vector i, not a copy.
func (m Matrix) Row(i int) []float32 { return m.Data[i*m.Width : (i+1)*m.Width] }

// Normalize gives each vector the length 1, in place.
func (m Matrix) Normalize() {
	for i := range m.Len() {
		Normalize(m.Row(i))
	}
}

// First is a copy of the first width numbers of each vector, as Matryoshka models are cut (Kusupati et al. 2022); what
// had length 1 has it no longer.
func (m Matrix) First(width int) Matrix {
	out := Matrix{width, make([]float32, 0, m.Len()*width)}
	for i := range m.Len() {
		out.Data = append(out.Data, m.Row(i)[:width]...)
	}
	return out
}
