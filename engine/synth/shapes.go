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
	{ // Qwen/Qwen3-30B-A3B
		Name: "qwen3-30b-a3b", Arch: "qwen3moe", Layers: 48, Embd: 2048, FF: 768, Heads: 32, KVHeads: 4, HeadDim: 128,
		Vocab: 151936, Ctx: 40960, RopeBase: 1000000, NormEps: 1e-6, Tokenizer: Qwen2,
		Keys: map[string]any{"expert_count": 128, "expert_used_count": 8},
	},
	{ // allenai/OLMoE-1B-7B-0924
		Name: "olmoe-1b-7b", Arch: "olmoe", Layers: 16, Embd: 2048, FF: 1024, Heads: 16, KVHeads: 16, Vocab: 50304,
		Ctx: 4096, Tokenizer: GPT2, Keys: map[string]any{"expert_count": 64, "expert_used_count": 8},
	},
	{ // ibm-granite/granite-3.1-3b-a800m-instruct
		Name: "granite3-3b-a800m", Arch: "granitemoe", Layers: 32, Embd: 1536, FF: 512, Heads: 24, KVHeads: 8,
		Vocab: 49155, Ctx: 131072, Tied: true, RopeBase: 10000000, NormEps: 1e-6, Tokenizer: GPT2,
		Keys: map[string]any{"expert_count": 40, "expert_used_count": 8, "expert_shared_feed_forward_length": 0,
			"embedding_scale": float32(12), "residual_scale": float32(0.22), "attention.scale": float32(0.015625),
			"logit_scale": float32(6)},
	},
	{ // HuggingFaceTB/SmolLM3-3B
		Name: "smollm3-3b", Arch: "smollm3", Layers: 36, Embd: 2048, FF: 11008, Heads: 16, KVHeads: 4, Vocab: 128256,
		Ctx: 65536, Tied: true, RopeBase: 5000000, NormEps: 1e-6, Tokenizer: Llama3,
	},
	{ // allenai/OLMo-2-0425-1B
		Name: "olmo2-1b", Arch: "olmo2", Layers: 16, Embd: 2048, FF: 8192, Heads: 16, KVHeads: 16, Vocab: 100352,
		Ctx: 4096, RopeBase: 500000, NormEps: 1e-6, Tokenizer: GPT2,
		Keys: map[string]any{"attention.sliding_window": 4096}, // as far as it goes
	},
	{ // ibm-granite/granite-3.3-2b-instruct
		Name: "granite3-2b", Arch: "granite", Layers: 40, Embd: 2048, FF: 8192, Heads: 32, KVHeads: 8, Vocab: 49159,
		Ctx: 131072, Tied: true, RopeBase: 10000000, Tokenizer: GPT2,
		Keys: map[string]any{"embedding_scale": float32(12), "residual_scale": float32(0.22),
			"attention.scale": float32(0.015625), "logit_scale": float32(8)},
	},
	{ // baidu/ERNIE-4.5-0.3B-PT
		Name: "ernie4.5-0.3b", Arch: "ernie4_5", Layers: 18, Embd: 1024, FF: 3072, Heads: 16, KVHeads: 2, HeadDim: 128,
		Vocab: 103424, Ctx: 131072, Tied: true, RopeBase: 500000, Tokenizer: SPM,
	},
	{ // tencent/Hunyuan-0.5B-Instruct
		Name: "hunyuan-0.5b", Arch: "hunyuan-dense", Layers: 24, Embd: 1024, FF: 3584, Heads: 16, KVHeads: 8,
		HeadDim: 128, Vocab: 120818, Ctx: 262144, Tied: true, Tokenizer: GPT2,
	},
	{ // LGAI-EXAONE/EXAONE-4.0-1.2B
		Name: "exaone4-1.2b", Arch: "exaone4", Layers: 30, Embd: 2048, FF: 4096, Heads: 32, KVHeads: 8, Vocab: 102400,
		Ctx: 65536, Tied: true, RopeBase: 1000000, Tokenizer: GPT2,
	},
	{ // CohereLabs/c4ai-command-r7b-12-2024
		Name: "command-r7b", Arch: "cohere2", Layers: 32, Embd: 4096, FF: 14336, Heads: 32, KVHeads: 8, Vocab: 256000,
		Ctx: 8192, Tied: true, RopeBase: 50000, Tokenizer: GPT2,
		Keys: map[string]any{"attention.sliding_window": 4096, "logit_scale": float32(0.25)},
	},
	{ // bigcode/starcoder2-3b
		Name: "starcoder2-3b", Arch: "starcoder2", Layers: 30, Embd: 3072, FF: 12288, Heads: 24, KVHeads: 2,
		Vocab: 49152, Ctx: 16384, Tied: true, RopeBase: 999999.4420358813, Tokenizer: GPT2,
	},
	{ // stabilityai/stablelm-2-1_6b
		Name: "stablelm2-1.6b", Arch: "stablelm", Layers: 24, Embd: 2048, FF: 5632, Heads: 32, KVHeads: 32,
		Vocab: 100352, Ctx: 4096, Bias: true, Tokenizer: GPT2, Keys: map[string]any{"rope.dimension_count": 16},
	},
	{ // google/gemma-3-1b-it
		Name: "gemma3-1b", Arch: "gemma3", Layers: 26, Embd: 1152, FF: 6912, Heads: 4, KVHeads: 1, HeadDim: 256,
		Vocab: 262144, Ctx: 32768, Tied: true, RopeBase: 1000000, NormEps: 1e-6, Tokenizer: SPM,
		Keys: map[string]any{"attention.sliding_window": 512},
	},
	{ // nomic-ai/nomic-embed-text-v1.5
		Name: "nomic-embed-v1.5", Arch: "nomic-bert", Layers: 12, Embd: 768, FF: 3072, Heads: 12, Vocab: 30528,
		Ctx: 2048, RopeBase: 1000, NormEps: 1e-12,
	},
	{ // google/embeddinggemma-300m
		Name: "embeddinggemma-300m", Arch: "gemma-embedding", Layers: 24, Embd: 768, FF: 1152, Heads: 3, KVHeads: 1,
		HeadDim: 256, Vocab: 262144, Ctx: 2048, RopeBase: 1000000, NormEps: 1e-6, Tokenizer: SPM,
		Keys: map[string]any{"attention.sliding_window": 512, "dense_2_feat_out": 3072, "dense_3_feat_in": 3072},
	},
	{ // google/gemma-4-12B-it, its text part
		Name: "gemma4-12b", Arch: "gemma4", Layers: 48, Embd: 3840, FF: 15360, Heads: 16, KVHeads: 8, HeadDim: 512,
		Vocab: 262144, Ctx: 262144, Tied: true, RopeBase: 1000000, NormEps: 1e-6, Tokenizer: SPM,
		Keys: map[string]any{"attention.sliding_window": 1024,
			"attention.sliding_window_pattern": []bool{true, true, true, true, true, false},
			"attention.head_count_kv":          []int{8, 8, 8, 8, 8, 1}, "attention.key_length_swa": 256,
			"attention.value_length_swa": 256, "rope.dimension_count_swa": 256, "rope.freq_base_swa": float32(10000),
			"final_logit_softcapping": float32(30)},
	},
	{ // sentence-transformers/all-MiniLM-L6-v2
		Name: "all-minilm-l6", Arch: "bert", Layers: 6, Embd: 384, FF: 1536, Heads: 12, Vocab: 30522, Ctx: 512,
		NormEps: 1e-12,
	},
	{ // intfloat/multilingual-e5-small
		Name: "multilingual-e5-small", Arch: "bert", Layers: 12, Embd: 384, FF: 1536, Heads: 12, Vocab: 250037,
		Ctx: 512, NormEps: 1e-12, Tokenizer: Unigram,
	},
	{ // zai-org/GLM-4-9B-0414
		Name: "glm4-9b", Arch: "glm4", Layers: 40, Embd: 4096, FF: 13696, Heads: 32, KVHeads: 2, Vocab: 151552,
		Ctx: 32768, Bias: true, Tokenizer: GPT2, Keys: map[string]any{"rope.dimension_count": 64},
	},
	{ // microsoft/Phi-4-mini-instruct
		Name: "phi4-mini", Arch: "phi3", Layers: 32, Embd: 3072, FF: 8192, Heads: 24, KVHeads: 8, Vocab: 200064,
		Ctx: 131072, Tied: true, Tokenizer: SPM,
		Keys: map[string]any{"rope.dimension_count": 96, "rope.scaling.original_context_length": 4096,
			"rope.scaling.attn_factor": float32(1.1902381)},
	},
	{ // mistralai/Ministral-3-3B-Instruct-2512, its text part
		Name: "ministral3-3b", Arch: "mistral3", Layers: 26, Embd: 3072, FF: 9216, Heads: 32, KVHeads: 8, HeadDim: 128,
		Vocab: 131072, Ctx: 262144, Tied: true, RopeBase: 1000000, Tokenizer: SPM,
		Keys: map[string]any{"rope.scaling.factor": float32(16), "rope.scaling.original_context_length": 16384,
			"rope.scaling.yarn_beta_fast": float32(32), "attention.temperature_scale": float32(0.1)},
	},
	{ // openai/gpt-oss-20b
		Name: "gpt-oss-20b", Arch: "gpt-oss", Layers: 24, Embd: 2880, FF: 2880, Heads: 64, KVHeads: 8, HeadDim: 64,
		Vocab: 201088, Ctx: 131072, RopeBase: 150000, Tokenizer: GPT4o,
		Keys: map[string]any{"expert_count": 32, "expert_used_count": 4, "attention.sliding_window": 128,
			"rope.scaling.factor": float32(32), "rope.scaling.original_context_length": 4096},
	},
	{ // LiquidAI/LFM2-350M
		Name: "lfm2-350m", Arch: "lfm2", Layers: 16, Embd: 1024, FF: 4608, Heads: 16, KVHeads: 8, Vocab: 65536,
		Ctx: 128000, Tied: true, RopeBase: 1000000, Tokenizer: LFM2, Keys: lfm2Layers,
	},
	{ // LiquidAI/LFM2-1.2B
		Name: "lfm2-1.2b", Arch: "lfm2", Layers: 16, Embd: 2048, FF: 8192, Heads: 32, KVHeads: 8, Vocab: 65536,
		Ctx: 128000, Tied: true, RopeBase: 1000000, Tokenizer: LFM2, Keys: lfm2Layers,
	},
	{ // google/gemma-2-2b-it
		Name: "gemma2-2b", Arch: "gemma2", Layers: 26, Embd: 2304, FF: 9216, Heads: 8, KVHeads: 4, HeadDim: 256,
		Vocab: 256000, Ctx: 8192, Tied: true, NormEps: 1e-6, Tokenizer: SPM,
		Keys: map[string]any{"attention.sliding_window": 4096, "attn_logit_softcapping": float32(50),
			"final_logit_softcapping": float32(30)},
	},
}

// lfm2Layers are the key heads of LFM2's layers, of which those without convolve.
var lfm2Layers = map[string]any{"attention.head_count_kv": []int{0, 0, 8, 0, 0, 8, 0, 0, 8, 0, 8, 0, 8, 0, 8, 0}}

// ShapeNames lists the published shapes.
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
