package refmodel

// Each fourth layer of smollm3 does not look at positions.
var _ = register(Architecture{
	Name:    "smollm3",
	Tensors: family{}.tensors,
	Layer: func(p *Pass, il int, x *node) *node {
		hp := p.model.HParams
		hp.NoRope = il%4 == 3
		return family{}.layerWith(p, hp, il, x)
	},
	Examples: []Example{
		{"smollm3", HParams{NLayer: 4, NEmbd: 36, NFF: 40, NHead: 3, NHeadKV: 1, HeadDim: 12, NVocab: 97,
			NCtxTrain: 128, NormEps: exampleEps, Rope: exampleRope(12, false)}, nil},
	},
})
