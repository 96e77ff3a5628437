package refmodel

var _ = register(Architecture{
	Name: "hunyuan-dense", Neox: true,
	Tensors: family{QKNorm: "head"}.tensors,
	Layer:   family{QKNorm: "head", NormLate: true}.layer,
	Examples: []Example{
		{"hunyuan-dense", HParams{NLayer: 2, NEmbd: 32, NFF: 40, NHead: 4, NHeadKV: 1, HeadDim: 12, NVocab: 97,
			NCtxTrain: 128, NormEps: exampleEps, Rope: exampleRope(12, true)}, nil},
	},
})
