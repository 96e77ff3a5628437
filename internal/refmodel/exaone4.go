package refmodel

// In the model of 64 layers three of four see a window alone, and the fourth does not look at positions.
var _ = register(Architecture{
	Name: "exaone4", Neox: true,
	Keys:    func(hp *HParams) map[string]any { return map[string]any{"attention.sliding_window": &hp.Window} },
	Tensors: family{QKNorm: "head", After: true, NoBefore: true}.tensors,
	Layer: func(p *Pass, il int, x *node) *node {
		hp := p.model.HParams
		hp.NoRope = hp.NLayer == 64 && il%4 == 3
		if hp.NLayer != 64 || hp.NoRope {
			hp.Window = 0
		}
		return family{QKNorm: "head"}.layerWith(p, hp, il, x)
	},
	Examples: []Example{
		{"exaone4", HParams{NLayer: 2, NEmbd: 36, NFF: 40, NHead: 3, NHeadKV: 1, HeadDim: 12, NVocab: 97,
			NCtxTrain: 128, NormEps: exampleEps, Rope: exampleRope(12, true)}, nil},
		{"exaone4 of 64 layers", HParams{NLayer: 64, NEmbd: 16, NFF: 8, NHead: 2, NHeadKV: 1, HeadDim: 8, NVocab: 40,
			NCtxTrain: 128, NormEps: 0.25, Window: 5, Rope: exampleRope(8, true)}, onlyOutput},
	},
})
