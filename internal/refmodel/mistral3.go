package refmodel

var _ = register(Architecture{
	Name:    "mistral3",
	Tensors: family{Biased: allBiased}.tensors,
	Layer:   family{}.layer,
	Keys: func(hp *HParams) map[string]any {
		return map[string]any{"attention.temperature_scale": &hp.Rope.Temp,
			"rope.scaling.yarn_beta_fast": &hp.Rope.BetaFast, "rope.scaling.yarn_log_multiplier": &hp.Rope.LogMul}
	},
	Examples: []Example{
		{"mistral3", HParams{NLayer: 2, NEmbd: 40, NFF: 33, NHead: 4, NHeadKV: 2, HeadDim: 16, NVocab: 120,
			NCtxTrain: 128, NormEps: exampleEps, Rope: Rope{Dim: 16, Base: 1000, Scale: 0.125, AttnFactor: 1,
				Yarn: true, CtxOrig: 5, BetaFast: 4, LogMul: 1, Temp: 0.25}}, onlyOutput},
	},
})
