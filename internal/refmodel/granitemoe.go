package refmodel

import (
	"maps"
	"strings"
)

// Granite's factors, experts, and in some models a network that every token has beside them.
var graniteMoE = family{Biased: func(role string) bool { return strings.HasPrefix(role, "attn_") },
	Experts: &gating{Kind: gateSoftmaxChosen}}

var _ = register(Architecture{
	Name: "granitemoe", LogitsDivided: true,
	Keys: func(hp *HParams) map[string]any {
		keys := graniteKeys(hp)
		maps.Copy(keys, expertCounts(hp))
		keys["expert_shared_feed_forward_length"] = &hp.NFFShared
		return keys
	},
	Tensors: graniteMoE.tensors,
	Layer:   graniteMoE.layer,
	Examples: []Example{
		{"granitemoe", HParams{NLayer: 2, NEmbd: 36, NFF: 24, NHead: 3, NHeadKV: 1, HeadDim: 12, NVocab: 97,
			NCtxTrain: 128, NormEps: exampleEps, Rope: exampleRope(12, false), EmbdScale: 12, AttnScale: 0.125,
			Residual: 0.25, LogitScale: 4, NExpert: 5, NExpertUsed: 2, NFFShared: 33}, nil},
		{"granitemoe untied, nothing shared, with biases", HParams{NLayer: 1, NEmbd: 32, NFF: 33, NHead: 4, NHeadKV: 2,
			HeadDim: 8, NVocab: 64, NCtxTrain: 128, NormEps: exampleEps, Rope: exampleRope(8, false), EmbdScale: 0.5,
			AttnScale: 0.5, Residual: 1.5, LogitScale: 0.5, NExpert: 4, NExpertUsed: 3},
			func(name string) bool { return name != "rope_freqs.weight" }},
	},
})
