package refmodel

var _ = register(Architecture{
	Name: "stablelm", Neox: true, LayerNorm: true, AlwaysUntied: true,
	Tensors: family{NormBias: true, Biased: inputsBiased}.tensors,
	Layer:   family{}.layer,
	Examples: []Example{
		{"stablelm", HParams{NLayer: 2, NEmbd: 36, NFF: 40, NHead: 3, NHeadKV: 1, HeadDim: 12, NVocab: 97,
			NCtxTrain: 128, NormEps: exampleEps, Rope: exampleRope(4, true)}, onlyOutput},
		{"stablelm with biases", HParams{NLayer: 1, NEmbd: 32, NFF: 33, NHead: 4, NHeadKV: 2, HeadDim: 8, NVocab: 64,
			NCtxTrain: 128, NormEps: exampleEps, Rope: exampleRope(6, true)},
			func(name string) bool { return name != "rope_freqs.weight" }},
	},
})
