package refmodel

// Of four layers three see a window alone, and the fourth does not look at positions.
var _ = register(Architecture{
	Name: "cohere2", LayerNorm: true, NoNormBias: true, AlwaysTied: true,
	Keys: func(hp *HParams) map[string]any {
		return map[string]any{"attention.sliding_window": &hp.Window, "logit_scale": &hp.LogitScale}
	},
	Tensors: family{Parallel: true}.tensors,
	Layer: func(p *Pass, il int, x *node) *node {
		hp := p.model.HParams
		if hp.NoRope = il%4 == 3; hp.NoRope {
			hp.Window = 0
		}
		return family{Parallel: true}.layerWith(p, hp, il, x)
	},
	Examples: []Example{
		{"cohere2", HParams{NLayer: 4, NEmbd: 36, NFF: 40, NHead: 3, NHeadKV: 1, HeadDim: 12, NVocab: 97,
			NCtxTrain: 128, NormEps: exampleEps, Window: 5, LogitScale: 0.25, Rope: exampleRope(12, false)}, nil},
	},
})
