package refmodel

var qwen3moe = family{QKNorm: "head", Experts: &gating{Norm: true}}

var _ = register(Architecture{
	Name: "qwen3moe", Neox: true,
	Keys:    expertKeys,
	Tensors: qwen3moe.tensors,
	Layer:   qwen3moe.layer,
	Examples: []Example{
		{"qwen3moe", HParams{NLayer: 2, NEmbd: 36, NFF: 40, NHead: 4, NHeadKV: 2, HeadDim: 24, NVocab: 150,
			NCtxTrain: 128, NormEps: exampleEps, Rope: exampleRope(24, true), NExpert: 5, NExpertUsed: 2, NFFExp: 33},
			onlyOutput},
		{"qwen3moe of a single expert", HParams{NLayer: 1, NEmbd: 32, NFF: 40, NHead: 4, NHeadKV: 2, HeadDim: 8,
			NVocab: 64, NCtxTrain: 128, NormEps: exampleEps, Rope: exampleRope(8, true), NExpert: 1, NExpertUsed: 1,
			NFFExp: 20}, nil},
	},
})
