package eval

import (
	"math"

	"github.com/ggtune/ggtune/finetune/vectors"
)

// Distance2 is the squared distance of two vectors of length 1. Its mean over pairs that belong together is their
// alignment (Wang and Isola 2020, section 4.1.1, with α 2): lower is better.
func Distance2(a, b []float32) float64 {
	sum := 0.0
	for i, x := range a {
		d := float64(x) - float64(b[i])
		sum += d * d
	}
	return sum
}

// mostUniform bounds how many vectors Uniformity compares, each with each: 8 million distances.
const mostUniform = 4096

// Uniformity is ln of the mean of e^(-2d²) over all pairs of vectors of length 1, of distance d (Wang and Isola 2020,
// section 4.1.2, with t 2): 0 where all are equal, and the lower, the more evenly they are spread. Of many vectors some
// are taken, evenly. Of one there is none: NaN.
func Uniformity(m vectors.Matrix) float64 {
	n := min(m.Len(), mostUniform)
	sum := 0.0
	for i := range n {
		a := m.Row(i * m.Len() / n)
		for j := range i {
			sum += math.Exp(-2 * Distance2(a, m.Row(j*m.Len()/n)))
		}
	}
	return math.Log(sum / float64(n*(n-1)/2))
}
