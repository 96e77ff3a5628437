package kernels

var _ = rows([]rowOp{
	{name: "swiglu", op: OpSwiGLU.Call(None{}), out: []shape{asMatrix}, in: []shape{asMatrix, asMatrix},
		inPlace: []int{0, 1},
		far:     true, ref: refs{pointwise(refSilu)}},
	{name: "swiglu_back", op: OpSwiGLUBack.Call(None{}), out: []shape{asMatrix, asMatrix},
		in: []shape{asMatrix, asMatrix, asMatrix}, inPlace: []int{0, 1, 2}, far: true,
		ref: refs{pointwise(refSiluGrad),
			pointwise(func(x []float64) float64 { return x[2] * x[0] * refSigmoid(x[0]) })},
		forward: pointwise(refSilu), wrt: []int{0, 1}},
})

func refSilu(x []float64) float64 { return x[0] * refSigmoid(x[0]) * x[1] }

func refSiluGrad(x []float64) float64 {
	s := refSigmoid(x[0])
	return x[2] * x[1] * s * (1 + x[0]*(1-s))
}
