package refmodel

var _ = register(Architecture{
	Name:    "ernie4_5",
	Tensors: family{Biased: inputsBiased}.tensors,
	Layer:   family{}.layer,
	Examples: []Example{
		{"ernie4_5", HParams{NLayer: 2, NEmbd: 32, NFF: 40, NHead: 4, NHeadKV: 1, HeadDim: 12, NVocab: 97,
			NCtxTrain: 128, NormEps: exampleEps, Rope: exampleRope(12, false)}, nil},
	},
})
