package refmodel

var olmoe = family{QKNorm: "row", Experts: &gating{}}

var _ = register(Architecture{
	Name: "olmoe", Neox: true, AlwaysUntied: true,
	Keys:    expertCounts,
	Tensors: olmoe.tensors,
	Layer:   olmoe.layer,
	Examples: []Example{
		{"olmoe", HParams{NLayer: 2, NEmbd: 36, NFF: 33, NHead: 3, NHeadKV: 3, HeadDim: 12, NVocab: 97, NCtxTrain: 128,
			NormEps: exampleEps, Rope: exampleRope(12, true), NExpert: 5, NExpertUsed: 2}, onlyOutput},
	},
})
