package kernels

import "math"

// The references of the row operations: float64, one number after the other, straight from the formulas. Each takes the
// inputs in the order of kernels.h and returns one output.

func eachRow(like mat, f func(r int, y []float64)) mat {
	out := newMat(like.ne0, like.ne1)
	for r := range out.ne1 {
		f(r, out.row(r))
	}
	return out
}

func refRMSNorm(eps float64) func(in []mat) mat {
	return func(in []mat) mat {
		return eachRow(in[0], func(r int, y []float64) {
			s, w := refRMS(in[0].row(r), eps), orOnes(in[1], in[0].ne0)
			for i, x := range in[0].row(r) {
				y[i] = x * s * w[i]
			}
		})
	}
}

// orOnes is a vector of n numbers, which are 1 where it is absent.
func orOnes(v mat, n int) []float64 {
	if v.d != nil {
		return v.d
	}
	ones := make([]float64, n)
	for i := range ones {
		ones[i] = 1
	}
	return ones
}

func refRMS(x []float64, eps float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	return 1 / math.Sqrt(sum/float64(len(x))+eps)
}

func refRMSNormBack(eps float64) func(in []mat) mat {
	return func(in []mat) mat {
		x, w, dy := in[0], orOnes(in[1], in[0].ne0), in[2]
		return eachRow(x, func(r int, dx []float64) {
			s, dot := refRMS(x.row(r), eps), 0.0
			for i, v := range x.row(r) {
				dot += w[i] * dy.row(r)[i] * v
			}
			for i, v := range x.row(r) {
				dx[i] = s*w[i]*dy.row(r)[i] - v*s*s*s*dot/float64(x.ne0)
			}
		})
	}
}

func refRMSNormGrad(eps float64) func(in []mat) mat {
	return func(in []mat) mat {
		x, dy := in[0], in[1]
		dw := newMat(x.ne0, 1)
		for r := range x.ne1 {
			s := refRMS(x.row(r), eps)
			for i, v := range x.row(r) {
				dw.d[i] += dy.row(r)[i] * v * s
			}
		}
		return dw
	}
}

// refNormal returns x̂ of a row and 1/√(variance + eps).
func refNormal(x []float64, eps float64) ([]float64, float64) {
	mean, v := 0.0, 0.0
	for _, a := range x {
		mean += a / float64(len(x))
	}
	for _, a := range x {
		v += (a - mean) * (a - mean) / float64(len(x))
	}
	s := 1 / math.Sqrt(v+eps)
	out := make([]float64, len(x))
	for i, a := range x {
		out[i] = (a - mean) * s
	}
	return out, s
}

func refLayerNorm(eps float64) func(in []mat) mat {
	return func(in []mat) mat {
		return eachRow(in[0], func(r int, y []float64) {
			n, _ := refNormal(in[0].row(r), eps)
			for i, v := range n {
				y[i] = v * in[1].d[i]
				if len(in) > 2 && !in[2].absent() {
					y[i] += in[2].d[i]
				}
			}
		})
	}
}

func refLayerNormBack(eps float64) func(in []mat) mat {
	return func(in []mat) mat {
		x, w, dy := in[0], in[1], in[2]
		return eachRow(x, func(r int, dx []float64) {
			n, s := refNormal(x.row(r), eps)
			g, gx := 0.0, 0.0
			for i, v := range n {
				g += w.d[i] * dy.row(r)[i] / float64(x.ne0)
				gx += w.d[i] * dy.row(r)[i] * v / float64(x.ne0)
			}
			for i, v := range n {
				dx[i] = s * (w.d[i]*dy.row(r)[i] - g - v*gx)
			}
		})
	}
}

func refLayerNormGrad(eps float64) func(in []mat) mat {
	return func(in []mat) mat {
		dw := newMat(in[0].ne0, 1)
		for r := range in[0].ne1 {
			n, _ := refNormal(in[0].row(r), eps)
			for i, v := range n {
				dw.d[i] += in[1].row(r)[i] * v
			}
		}
		return dw
	}
}

// refColumnSum is the gradient of a bias: the sum over rows of the last input.
func refColumnSum(in []mat) mat {
	dy := in[len(in)-1]
	out := newMat(dy.ne0, 1)
	for r := range dy.ne1 {
		for i, v := range dy.row(r) {
			out.d[i] += v
		}
	}
	return out
}

// pointwise makes a reference of a function of one number of each input.
func pointwise(f func(x []float64) float64) func(in []mat) mat {
	return func(in []mat) mat {
		out, x := newMat(in[0].ne0, in[0].ne1), make([]float64, len(in))
		for i := range out.d {
			for j := range in {
				x[j] = in[j].d[i%len(in[j].d)] // a vector repeats for every row
			}
			out.d[i] = f(x)
		}
		return out
	}
}

func refSigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
