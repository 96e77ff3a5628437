package method

import "github.com/ggtune/ggtune/internal/setting"

// AnglE is CoSENT over another likeness than the cosine (Li and Li 2024, "AnglE-optimized Text Embeddings", equation 9,
// in sentence-transformers' form): with vectors read as complex numbers, of which the first half of the width are the
// real parts x and the second the imaginary ones y, at length 1,
//
//	like = |cos(u, v) + Σ (y_u·x_v − x_u·y_v)|
//
// A width that is odd is as if a zero followed.
var AnglE = register(&Method{
	Name:    "angle",
	Doc:     "cosent with angles of complex numbers in the place of cosines (Li and Li 2024)",
	Unit:    "batch",
	Need:    Likenesses,
	Coupled: true,
	Reads:   []setting.Use{scale.At(20)},
	Loss: func(in *Inputs, s setting.Values) (Result, error) {
		return ordered(in, s.Of(scale), func(v *sphere, i, k int) float64 {
			sum, _ := v.angle(i, k)
			return sum
		}, (*sphere).pushAngle)
	},
})

// angle gives AnglE's likeness of two vectors, and the sign of what it is the amount of.
func (s *sphere) angle(i, k int) (like, sign float64) {
	sum := s.cos(i, k)
	u, v, half := s.of(i), s.of(k), (s.width+1)/2
	for d := half; d < s.width; d++ {
		sum += u[d]*v[d-half] - u[d-half]*v[d]
	}
	if sum < 0 {
		return -sum, -1
	}
	return sum, 1
}

// pushAngle is push by the likeness.
func (s *sphere) pushAngle(i, k int, slope float64) {
	_, sign := s.angle(i, k)
	slope *= sign
	s.push(i, k, slope)
	u, v, half := s.of(i), s.of(k), (s.width+1)/2
	byU, byV := s.by[i*s.width:(i+1)*s.width], s.by[k*s.width:(k+1)*s.width]
	for d := half; d < s.width; d++ {
		byU[d] += slope * v[d-half]
		byU[d-half] -= slope * v[d]
		byV[d-half] += slope * u[d]
		byV[d] -= slope * u[d-half]
	}
}
