package refmodel

var _ = register(Architecture{
	Name:    "glm4",
	Tensors: family{After: true, Biased: inputsBiased, Fused: true, Alone: true}.tensors,
	Layer:   family{Fused: true}.layer,
	Examples: []Example{
		{"glm4", HParams{NLayer: 2, NEmbd: 36, NFF: 40, NHead: 3, NHeadKV: 1, HeadDim: 12, NVocab: 97,
			NCtxTrain: 128, NormEps: exampleEps, Rope: exampleRope(6, false)},
			func(name string) bool { return name != "rope_freqs.weight" }},
		{"glm4 tied, whole heads", HParams{NLayer: 1, NEmbd: 32, NFF: 33, NHead: 4, NHeadKV: 2, HeadDim: 8, NVocab: 64,
			NCtxTrain: 128, NormEps: exampleEps, Rope: exampleRope(8, false)}, nil},
	},
})
