package refmodel

var _ = register(Architecture{
	Name: "qwen3",
	Neox: true,
	Tensors: func(hp HParams, il int) []Tensor {
		return ropeTensors(hp, il, func(string) bool { return false }, true)
	},
	Layer: ropeLayer,
	Examples: []Example{
		{"qwen3", HParams{NLayer: 2, NEmbd: 32, NFF: 56, NHead: 4, NHeadKV: 2, HeadDim: 24, NVocab: 150, NCtxTrain: 128,
			NormEps: exampleEps, Rope: exampleRope(24, true)}, onlyOutput},
	},
})
