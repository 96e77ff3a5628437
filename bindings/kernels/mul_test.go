package kernels

var _ = rows([]rowOp{
	{name: "mul", op: OpMul.Call(None{}), out: []shape{asMatrix}, in: []shape{asMatrix, asMatrix},
		inPlace: []int{0, 1}, ref: refs{pointwise(func(x []float64) float64 { return x[0] * x[1] })}},
})
