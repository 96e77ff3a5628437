package refmodel

var _ = register(Architecture{
	Name:    "qwen3",
	Neox:    true,
	Tensors: family{QKNorm: "head"}.tensors,
	Layer:   family{QKNorm: "head"}.layer,
	Examples: []Example{
		{"qwen3", HParams{NLayer: 2, NEmbd: 32, NFF: 56, NHead: 4, NHeadKV: 2, HeadDim: 24, NVocab: 150, NCtxTrain: 128,
			NormEps: exampleEps, Rope: exampleRope(24, true)}, onlyOutput},
	},
})
