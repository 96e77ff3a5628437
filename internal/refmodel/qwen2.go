package refmodel

var _ = register(Architecture{
	Name:    "qwen2",
	Neox:    true,
	Tensors: family{Biased: inputsBiased}.tensors,
	Layer:   family{}.layer,
	Examples: []Example{
		{"qwen2", HParams{NLayer: 2, NEmbd: 48, NFF: 72, NHead: 6, NHeadKV: 2, HeadDim: 8, NVocab: 131, NCtxTrain: 128,
			NormEps: exampleEps, Rope: exampleRope(8, true)},
			func(name string) bool { return name != "rope_freqs.weight" }},
		{"qwen2 tied, no biases", HParams{NLayer: 2, NEmbd: 32, NFF: 40, NHead: 4, NHeadKV: 4, HeadDim: 8, NVocab: 64,
			NCtxTrain: 128, NormEps: exampleEps, Rope: exampleRope(8, true)}, nil},
	},
})
