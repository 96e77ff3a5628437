package kernels

var _ = rows([]rowOp{
	{name: "geglu", op: OpGEGLU.Call(None{}), out: []shape{asMatrix}, in: []shape{asMatrix, asMatrix},
		inPlace: []int{0, 1}, far: true, ref: refs{pointwise(refGEGLU)}},
	{name: "geglu_back", op: OpGEGLUBack.Call(None{}), out: []shape{asMatrix, asMatrix},
		in: []shape{asMatrix, asMatrix, asMatrix}, inPlace: []int{0, 1, 2}, far: true,
		ref: refs{pointwise(func(x []float64) float64 { return refGELUGrad([]float64{x[0], x[2]}) * x[1] }),
			pointwise(func(x []float64) float64 { return x[2] * refGELU(x) })},
		forward: pointwise(refGEGLU), wrt: []int{0, 1}},
})

func refGEGLU(x []float64) float64 { return refGELU(x) * x[1] }
