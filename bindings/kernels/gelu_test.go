package kernels

import "math"

var _ = rows([]rowOp{
	{name: "gelu", op: OpGELU.Call(None{}), out: []shape{asMatrix}, in: []shape{asMatrix}, inPlace: []int{0}, far: true,
		ref: refs{pointwise(refGELU)}},
	{name: "gelu_back", op: OpGELUBack.Call(None{}), out: []shape{asMatrix}, in: []shape{asMatrix, asMatrix},
		inPlace: []int{0, 1}, far: true, ref: refs{pointwise(refGELUGrad)}, forward: pointwise(refGELU), wrt: []int{0}},
})

func refGELU(x []float64) float64 {
	return 0.5 * x[0] * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x[0]+0.044715*x[0]*x[0]*x[0])))
}

func refGELUGrad(x []float64) float64 {
	v, c := x[0], math.Sqrt(2/math.Pi)
	th := math.Tanh(c * (v + 0.044715*v*v*v))
	return x[1] * (0.5*(1+th) + 0.5*v*(1-th*th)*c*(1+3*0.044715*v*v))
}
