package refmodel

// Norms stand behind the halves of a layer alone; with a window three of four layers see no further, at positions that
// are not stretched.
var _ = register(Architecture{
	Name: "olmo2", Neox: true, AlwaysUntied: true,
	Keys:    func(hp *HParams) map[string]any { return map[string]any{"attention.sliding_window": &hp.Window} },
	Tensors: family{QKNorm: "row", After: true, NoBefore: true}.tensors,
	Layer: func(p *Pass, il int, x *node) *node {
		hp := p.model.HParams
		if il%4 == 3 {
			hp.Window = 0
		} else if hp.Window > 0 {
			hp.Rope.Scale, hp.Rope.Yarn = 1, false
		}
		return family{QKNorm: "row"}.layerWith(p, hp, il, x)
	},
	Examples: []Example{
		{"olmo2", HParams{NLayer: 4, NEmbd: 36, NFF: 40, NHead: 3, NHeadKV: 1, HeadDim: 12, NVocab: 97, NCtxTrain: 128,
			NormEps: exampleEps, Window: 5, Rope: Rope{Dim: 12, Neox: true, Base: 500000, Scale: 0.25, Yarn: true,
				CtxOrig: 32, AttnFactor: 1}}, onlyOutput},
		{"olmo2 without a window", HParams{NLayer: 1, NEmbd: 32, NFF: 33, NHead: 4, NHeadKV: 2, HeadDim: 8, NVocab: 64,
			NCtxTrain: 128, NormEps: exampleEps, Rope: exampleRope(8, true)}, onlyOutput},
	},
})
