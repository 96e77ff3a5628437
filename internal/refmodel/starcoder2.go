package refmodel

var _ = register(Architecture{
	Name: "starcoder2", Neox: true, LayerNorm: true,
	Tensors: family{Ungated: true, NormBias: true, Biased: allBiased, Must: true}.tensors,
	Layer:   family{Ungated: true}.layer,
	Examples: []Example{
		{"starcoder2", HParams{NLayer: 2, NEmbd: 36, NFF: 40, NHead: 3, NHeadKV: 1, HeadDim: 12, NVocab: 97,
			NCtxTrain: 128, NormEps: exampleEps, Rope: exampleRope(12, true)}, nil},
	},
})
