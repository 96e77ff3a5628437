package refmodel

var _ = register(Architecture{
	Name:    "llama",
	Tensors: family{Biased: allBiased}.tensors,
	Layer:   family{}.layer,
	Examples: []Example{
		{"llama", HParams{NLayer: 3, NEmbd: 64, NFF: 96, NHead: 4, NHeadKV: 2, HeadDim: 16, NVocab: 300, NCtxTrain: 128,
			NormEps: exampleEps, Rope: exampleRope(16, false)}, onlyOutput},
		{"llama, every optional tensor, odd sizes", HParams{NLayer: 2, NEmbd: 42, NFF: 51, NHead: 3, NHeadKV: 1,
			HeadDim: 14, NVocab: 77, NCtxTrain: 128, NormEps: exampleEps, Rope: exampleRope(14, false)},
			func(string) bool { return true }},
		{"llama, heads of 80", HParams{NLayer: 1, NEmbd: 80, NFF: 33, NHead: 1, NHeadKV: 1, HeadDim: 80, NVocab: 65,
			NCtxTrain: 128, NormEps: exampleEps, Rope: exampleRope(80, false)}, nil},
	},
})

func allBiased(string) bool { return true }

func inputsBiased(role string) bool { return role == "attn_q" || role == "attn_k" || role == "attn_v" }
