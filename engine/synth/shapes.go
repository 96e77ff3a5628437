package synth

import (
	"strings"

	"github.com/ggtune/ggtune/internal/registry"
)

// shapes are the hyper-parameters of published models, from the config.json of each. The type or mix is left to
// choose.
var shapes = []Spec{
	{ // HuggingFaceTB/SmolLM2-135M
		Name: "smollm2-135m", Arch: "llama", Layers: 30, Embd: 576, FF: 1536, Heads: 9, KVHeads: 3, Vocab: 49152,
		Ctx:  8192,
		Tied: true, RopeBase: 100000, Tokenizer: SmolLM,
	},
	{ // Qwen/Qwen2.5-0.5B
		Name: "qwen2.5-0.5b", Arch: "qwen2", Layers: 24, Embd: 896, FF: 4864, Heads: 14, KVHeads: 2, Vocab: 151936,
		Ctx: 32768, Tied: true, RopeBase: 1000000, NormEps: 1e-6, Tokenizer: Qwen2,
	},
	{ // TinyLlama/TinyLlama-1.1B-Chat-v1.0
		Name: "tinyllama-1.1b", Arch: "llama", Layers: 22, Embd: 2048, FF: 5632, Heads: 32, KVHeads: 4, Vocab: 32000,
		Ctx: 2048, Tokenizer: SPM,
	},
	{ // meta-llama/Llama-3.1-8B
		Name: "llama3-8b", Arch: "llama", Layers: 32, Embd: 4096, FF: 14336, Heads: 32, KVHeads: 8, Vocab: 128256,
		Ctx: 131072, RopeBase: 500000, RopeFactors: true, Tokenizer: Llama3,
	},
	{ // Qwen/Qwen3-0.6B
		Name: "qwen3-0.6b", Arch: "qwen3", Layers: 28, Embd: 1024, FF: 3072, Heads: 16, KVHeads: 8, HeadDim: 128,
		Vocab: 151936, Ctx: 40960, Tied: true, RopeBase: 1000000, NormEps: 1e-6, Tokenizer: Qwen2,
	},
	{ // google/gemma-3-1b-it
		Name: "gemma3-1b", Arch: "gemma3", Layers: 26, Embd: 1152, FF: 6912, Heads: 4, KVHeads: 1, HeadDim: 256,
		Vocab: 262144, Ctx: 32768, Tied: true, RopeBase: 1000000, NormEps: 1e-6, Tokenizer: SPM,
		Keys: map[string]any{"attention.sliding_window": 512},
	},
	{ // google/gemma-2-2b-it
		Name: "gemma2-2b", Arch: "gemma2", Layers: 26, Embd: 2304, FF: 9216, Heads: 8, KVHeads: 4, HeadDim: 256,
		Vocab: 256000, Ctx: 8192, Tied: true, NormEps: 1e-6, Tokenizer: SPM,
		Keys: map[string]any{"attention.sliding_window": 4096, "attn_logit_softcapping": float32(50),
			"final_logit_softcapping": float32(30)},
	},
}

// ShapeNames lists the published shapes, smallest first.
func ShapeNames() []string {
	var names []string
	for _, s := range shapes {
		names = append(names, s.Name)
	}
	return names
}

// ShapeByName is the Spec of a published model's shape, in F32 until Type or Mix is set. The error lists the known
// ones.
func ShapeByName(name string) (Spec, error) {
	for _, s := range shapes {
		if strings.EqualFold(s.Name, name) {
			return s, nil
		}
	}
	return Spec{}, &registry.UnknownError{Kind: "shape", Name: name, Known: ShapeNames()}
}
