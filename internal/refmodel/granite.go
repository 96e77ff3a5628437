package refmodel

// Embeddings, scores and what each half of a layer adds have factors; logits are divided.
var _ = register(Architecture{
	Name: "granite", LogitsDivided: true,
	Keys:    graniteKeys,
	Tensors: family{Biased: allBiased}.tensors,
	Layer:   family{}.layer,
	Examples: []Example{
		{"granite", HParams{NLayer: 2, NEmbd: 36, NFF: 40, NHead: 3, NHeadKV: 1, HeadDim: 12, NVocab: 97,
			NCtxTrain: 128, NormEps: exampleEps, Rope: exampleRope(12, false), EmbdScale: 12, AttnScale: 0.125,
			Residual: 0.25, LogitScale: 4}, nil},
		{"granite untied, with biases", HParams{NLayer: 1, NEmbd: 32, NFF: 33, NHead: 4, NHeadKV: 2, HeadDim: 8,
			NVocab: 64, NCtxTrain: 128, NormEps: exampleEps, Rope: exampleRope(8, false), EmbdScale: 0.5,
			AttnScale: 0.5, Residual: 1.5, LogitScale: 0.5},
			func(name string) bool { return name != "rope_freqs.weight" }},
	},
})

func graniteKeys(hp *HParams) map[string]any {
	return map[string]any{"embedding_scale": &hp.EmbdScale, "attention.scale": &hp.AttnScale,
		"residual_scale": &hp.Residual, "logit_scale": &hp.LogitScale}
}
