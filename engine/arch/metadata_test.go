package arch_test

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/internal/atomicfile"
)

// read writes a tiny model with changed metadata and reads it.
func read(t *testing.T, name string, change func(w *gguf.Writer)) (*arch.Net, error) {
	t.Helper()
	w, err := synth.Tiny(name, gguf.F32).Writer()
	if err != nil {
		t.Fatal(err)
	}
	change(w)
	path := filepath.Join(t.TempDir(), name+".gguf")
	if err := w.WriteFile(context.Background(), atomicfile.OS, path); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	net, err := arch.Of(f)
	if err != nil && !strings.Contains(err.Error(), path) {
		t.Errorf("error %q does not name the file", err)
	}
	return net, err
}

// ropeOf gives the rotary parameters of a net's first layer, from its graph.
func ropeOf(t *testing.T, net *arch.Net) graph.Rotary {
	t.Helper()
	g := build(net, net.Layer(0), 0, nil, 0)
	i := slices.IndexFunc(g.Nodes, func(n graph.Node) bool { return n.Op == graph.Rope })
	if g.Err() != nil || i < 0 {
		t.Fatalf("the layer's graph has no rotary positions: %v", g.Err())
	}
	return g.Nodes[i].Attr.(graph.RopeAttr).Rotary
}

func remove(keys ...string) func(*gguf.Writer) {
	return func(w *gguf.Writer) {
		for _, k := range keys {
			w.Delete(k)
		}
	}
}

func number(key string, x uint32) func(*gguf.Writer) {
	return func(w *gguf.Writer) { w.SetUint32(key, x) }
}

func float(key string, x float64) func(*gguf.Writer) {
	return func(w *gguf.Writer) { w.SetFloat32(key, float32(x)) }
}

func text(key, s string) func(*gguf.Writer) {
	return func(w *gguf.Writer) { w.SetString(key, s) }
}

func sections(of ...int32) func(*gguf.Writer) {
	return func(w *gguf.Writer) { w.Set("glm4.rope.dimension_sections", gguf.NumbersValue(of)) }
}

// yarn stretches positions of whatever architecture the file has.
func yarn(factor float64, more ...func(*gguf.Writer)) func(*gguf.Writer) {
	return func(w *gguf.Writer) {
		for _, name := range []string{"llama", "qwen2"} {
			w.SetString(name+".rope.scaling.type", "yarn")
			w.SetFloat32(name+".rope.scaling.factor", float32(factor))
		}
		for _, f := range more {
			f(w)
		}
	}
}

func TestHParamsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		arch   string
		change func(*gguf.Writer)
		want   []string
	}{
		"unknown architecture": {"llama", text("general.architecture", "mamba"),
			[]string{`"mamba"`, strings.Join(arch.Names(), ", ")}},
		"no layers": {"llama", remove("llama.block_count"), []string{`"llama.block_count"`, "missing"}},
		"no norm epsilon": {"llama", remove("llama.attention.layer_norm_rms_epsilon"),
			[]string{"layer_norm_rms_epsilon", "missing"}},
		"gpt2: no epsilon": {"gpt2", remove("gpt2.attention.layer_norm_epsilon"),
			[]string{"gpt2.attention.layer_norm_epsilon", "missing"}},
		"every missing key": {"qwen2", remove("qwen2.embedding_length", "qwen2.context_length"),
			[]string{`"qwen2.embedding_length"`, `"qwen2.context_length"`}},
		"zero layers": {"llama", number("llama.block_count", 0), []string{"is 0", "1 to 16777216"}},
		"zero heads":  {"llama", number("llama.attention.head_count", 0), []string{"head_count", "is 0"}},
		"zero key heads": {"llama", number("llama.attention.head_count_kv", 0),
			[]string{"head_count_kv", "is 0"}},
		"absurd size": {"llama", number("llama.feed_forward_length", 1<<31),
			[]string{"feed_forward_length", "2147483648"}},
		"size below 0": {"llama",
			func(w *gguf.Writer) { w.Set("llama.block_count", gguf.NumberValue(int32(-2))) },
			[]string{"block_count", "is -2"}},
		"size of another type": {"llama", text("llama.block_count", "two"), []string{"block_count", "string"}},
		"head ratio": {"llama", number("llama.attention.head_count_kv", 3),
			[]string{"4 attention heads over 3 key heads", "multiple"}},
		"keys unlike values": {"llama", number("llama.attention.value_length", 8),
			[]string{"16 elements in keys and 8 in values"}},
		"bert: causal": {"bert", func(w *gguf.Writer) { w.SetBool("bert.attention.causal", true) },
			[]string{`"bert.attention.causal" is missing or true`, "expected false"}},
		"bert: not said to be causal or not": {"bert", remove("bert.attention.causal"),
			[]string{`"bert.attention.causal" is missing or true`}},
		"bert: types of tokens": {"bert", remove("tokenizer.ggml.token_type_count"),
			[]string{`"tokenizer.ggml.token_type_count" is missing`, `"token_types.weight" has a row for each type`}},
		"bert: heads that make no row": {"bert", number("bert.attention.key_length", 8),
			[]string{"4 heads of 8 elements make 32", "n_embd 64"}},
		"pooling unheard of": {"qwen3", number("qwen3.pooling_type", 5),
			[]string{`"qwen3.pooling_type" is 5`, "expected 0 to 4 (none, mean, cls, last, rank)"}},
		"gemma4: layers that share keys": {"gemma4", number("gemma4.attention.shared_kv_layers", 1),
			[]string{"shared_kv_layers", "is 1", "of earlier ones", "E2B", "cannot be trained"}},
		"gemma4: embeddings of layers": {"gemma4", number("gemma4.embedding_length_per_layer_input", 16),
			[]string{"embedding_length_per_layer_input", "is 16", "E2B", "cannot be trained"}},
		"gemma4: embeddings of layers unsaid": {"gemma4", remove("gemma4.embedding_length_per_layer_input"),
			[]string{"embedding_length_per_layer_input", "missing"}},
		"gemma4: with experts": {"gemma4", number("gemma4.expert_count", 128),
			[]string{"mixture of 128 experts", "dense"}},
		"gemma4: heads of layers with windows unsaid": {"gemma4",
			remove("gemma4.attention.key_length_swa", "gemma4.attention.value_length_swa"),
			[]string{"attention.key_length_swa", "attention.value_length_swa", "missing"}},
		"gemma4: logits within 0": {"gemma4", float("gemma4.final_logit_softcapping", 0),
			[]string{"final_logit_softcapping", "is 0", "positive"}},
		"gemma4: part of a head": {"gemma4", number("gemma4.rope.dimension_count", 8),
			[]string{"rope.dimension_count", "is 8", "head size 32"}},
		"gemma4: no window": {"gemma4", number("gemma4.attention.sliding_window", 0),
			[]string{"attention.sliding_window", "is 0"}},
		"gemma4: no layers with windows are named": {"gemma4", remove("gemma4.attention.sliding_window_pattern"),
			[]string{"sliding_window_pattern", "missing"}},
		"gemma4: a layer left out": {"gemma4", func(w *gguf.Writer) {
			w.Set("gemma4.attention.sliding_window_pattern", gguf.BoolsValue([]bool{false}))
			w.Set("gemma4.attention.head_count_kv", gguf.NumbersValue([]int32{2, 1, 1}))
		}, []string{"sliding_window_pattern", "has 1 values", "each of 2 layers", "head_count_kv", "has 3 numbers"}},
		"gemma4: a layer too many": {"gemma4", func(w *gguf.Writer) {
			w.Set("gemma4.attention.sliding_window_pattern", gguf.BoolsValue([]bool{true, true, false}))
		}, []string{"sliding_window_pattern", "has 3 values", "each of 2 layers"}},
		"gemma4: windows everywhere": {"gemma4", func(w *gguf.Writer) {
			w.Set("gemma4.attention.sliding_window_pattern", gguf.BoolsValue([]bool{true, true}))
		}, []string{"sliding_window_pattern", "sees everything"}},
		"gemma4: no key heads": {"gemma4", func(w *gguf.Writer) {
			w.Set("gemma4.attention.head_count_kv", gguf.NumbersValue([]int32{2, 0}))
		}, []string{"head_count_kv", "has 0 for layer 1"}},
		"gemma4: a head ratio": {"gemma4", func(w *gguf.Writer) {
			w.Set("gemma4.attention.head_count_kv", gguf.NumbersValue([]int32{2, 3}))
		}, []string{"4 attention heads over 3 key heads"}},
		"gemma4: keys unlike values": {"gemma4", number("gemma4.attention.value_length_swa", 8),
			[]string{"16 elements in keys and 8 in values"}},
		"gemma4: rotated beyond the head": {"gemma4", number("gemma4.rope.dimension_count_swa", 24),
			[]string{"rope.dimension_count_swa", "is 24", "head size 16"}},

		"lfm2: one tap": {"lfm2", number("lfm2.shortconv.l_cache", 1),
			[]string{`"lfm2.shortconv.l_cache" is 1`, "expected 2 to 16"}},
		"lfm2: no taps": {"lfm2", number("lfm2.shortconv.l_cache", 0),
			[]string{"l_cache", "is 0, expected 2 to 16"}},
		"lfm2: taps unsaid": {"lfm2", remove("lfm2.shortconv.l_cache"), []string{"l_cache", "missing"}},
		"lfm2: nothing attends": {"lfm2", keyHeads("lfm2", 0, 0),
			[]string{`"lfm2.attention.head_count_kv" is 0 for each of 2 layers`}},
		"lfm2: a layer left out":  {"lfm2", keyHeads("lfm2", 2), []string{"has 1 numbers", "each of 2 layers"}},
		"lfm2: a head ratio":      {"lfm2", keyHeads("lfm2", 0, 3), []string{"4 attention heads over 3 key heads"}},
		"lfm2: key heads below 0": {"lfm2", keyHeads("lfm2", -1, 2), []string{"has -1 for layer 0, expected 0 to"}},
		"lfm2: heads unlike the embedding": {"lfm2", func(w *gguf.Writer) {
			w.SetUint32("lfm2.attention.key_length", 8)
			w.SetUint32("lfm2.attention.value_length", 8)
			w.SetUint32("lfm2.rope.dimension_count", 8)
		}, []string{"4 heads of 8 elements make 32", "n_embd 64"}},
		"lfm2: an encoder": {"lfm2", func(w *gguf.Writer) { w.SetBool("lfm2.attention.causal", false) },
			[]string{`"lfm2.attention.causal" is false`, "looks back alone"}},
		"lfm2: with experts": {"lfm2", number("lfm2.expert_count", 32),
			[]string{"mixture of 32 experts", "dense"}},
		"experts":    {"llama", number("llama.expert_count", 8), []string{"mixture of 8 experts", "dense"}},
		"no experts": {"qwen3moe", number("qwen3moe.expert_count", 0), []string{"expert_count", "is 0, expected 1 to"}},
		"experts unsaid": {"qwen3moe", func(w *gguf.Writer) { w.Delete("qwen3moe.expert_count") },
			[]string{"expert_count"}},
		"too many experts": {"qwen3moe", number("qwen3moe.expert_count", 513),
			[]string{"expert_count", "is 513, expected at most 512"}},
		"no expert of a token": {"qwen3moe", number("qwen3moe.expert_used_count", 0),
			[]string{"expert_used_count", "is 0, expected 1 to"}},
		"more experts of a token than there are": {"qwen3moe", number("qwen3moe.expert_used_count", 5),
			[]string{"expert_used_count", "is 5 of 4 experts, expected 1 to 4"}},
		"experts of no size": {"qwen3moe", func(w *gguf.Writer) { w.Delete("qwen3moe.expert_feed_forward_length") },
			[]string{"expert_feed_forward_length"}},
		"olmoe: fewer key heads": {"olmoe", number("olmoe.attention.head_count_kv", 2),
			[]string{"2 key heads for 4 heads", "llama.cpp"}},
		"granitemoe: no factor": {"granitemoe", func(w *gguf.Writer) { w.Delete("granitemoe.residual_scale") },
			[]string{"residual_scale"}},
		"experts in groups": {"qwen3moe", number("qwen3moe.expert_group_count", 2),
			[]string{"expert_group_count", "is 2", "chosen from all"}},
		"llama: rope of a part": {"llama", number("llama.rope.dimension_count", 8),
			[]string{"rope.dimension_count", "is 8", "head size 16", "llama.cpp"}},
		"qwen3: rope of a part": {"qwen3", number("qwen3.rope.dimension_count", 8),
			[]string{"is 8", "head size 32"}},
		"odd rope dimension": {"llama", number("llama.rope.dimension_count", 15),
			[]string{"rope.dimension_count", "is 15", "even"}},
		"rope beyond the head": {"llama", number("llama.rope.dimension_count", 32),
			[]string{"is 32", "head size 16"}},
		"rope scaling": {"llama", text("llama.rope.scaling.type", "longrope"),
			[]string{`"longrope"`, "for llama", "none, linear, yarn"}},
		"rope scaling unheard of": {"llama", text("llama.rope.scaling.type", "spiral"),
			[]string{`"spiral"`, "none, linear, yarn"}},
		"yarn that does not stretch": {"llama", yarn(0.5), []string{"rope.scaling.factor", "is 0.5", "1 or more"}},
		"yarn's beta": {"qwen2", yarn(4, float("qwen2.rope.scaling.yarn_beta_fast", 16)),
			[]string{"yarn_beta_fast", "is 16", "does not read for qwen2", "32"}},
		"yarn's logarithm": {"llama", yarn(4, float("llama.rope.scaling.yarn_log_multiplier", 1)),
			[]string{"yarn_log_multiplier", "is 1"}},
		"yarn in part": {"llama", yarn(4, float("llama.rope.scaling.yarn_ext_factor", 0.5)),
			[]string{"yarn_ext_factor", "is 0.5", "or 1"}},
		"yarn's factor": {"llama", yarn(4, float("llama.rope.scaling.yarn_attn_factor", 1.25)),
			[]string{"yarn_attn_factor", "is 1.25"}},
		"mistral3: a temperature below 0": {"mistral3", float("mistral3.attention.temperature_scale", -0.5),
			[]string{"temperature_scale", "is -0.5"}},
		"mistral3: an endless temperature": {"mistral3", float("mistral3.attention.temperature_scale", math.Inf(1)),
			[]string{"temperature_scale", "+Inf"}},
		"mistral3: a temperature by 0 positions": {"mistral3",
			number("mistral3.rope.scaling.original_context_length", 0), []string{"original_context_length", "is 0"}},
		"mistral3: yarn's logarithm": {"mistral3", float("mistral3.rope.scaling.yarn_log_multiplier", -1),
			[]string{"yarn_log_multiplier", "is -1", "positive"}},
		"mistral3: yarn's slow pairs": {"mistral3", float("mistral3.rope.scaling.yarn_beta_slow", 0),
			[]string{"yarn_beta_slow", "is 0", "positive"}},
		"mistral3: rope of a part": {"mistral3", number("mistral3.rope.dimension_count", 8), []string{"head size 16"}},
		"phi3: heads that are no embedding": {"phi3", number("phi3.attention.head_count", 2),
			[]string{"2 heads of 16", "make 32", "64", "llama.cpp"}},
		"phi3: rope beyond the head": {"phi3", number("phi3.rope.dimension_count", 18),
			[]string{"is 18", "head size 16"}},
		"rope base 0": {"llama", float("llama.rope.freq_base", 0),
			[]string{"rope.freq_base", "is 0", "positive"}},
		"rope base infinite": {"llama", float("llama.rope.freq_base", math.Inf(1)),
			[]string{"rope.freq_base", "is +Inf"}},
		"rope factor NaN": {"llama", float("llama.rope.scaling.factor", math.NaN()),
			[]string{"rope.scaling.factor", "is NaN"}},
		"gemma3: a window of 0": {"gemma3", number("gemma3.attention.sliding_window", 0),
			[]string{"sliding_window", "is 0"}},
		"gemma3: too few layers": {"gemma3", number("gemma3.block_count", 5),
			[]string{"5 layers with a window", "expected 6"}},
		"nomic-bert: no pooling": {"nomic-bert", remove("nomic-bert.pooling_type"),
			[]string{"pooling_type", "missing", "1: mean", "3: last"}},
		"nomic-bert: experts": {"nomic-bert", number("nomic-bert.moe_every_n_layers", 2),
			[]string{"moe_every_n_layers", "is 2", "experts"}},
		"nomic-bert: part of a head rotated": {"nomic-bert", number("nomic-bert.rope.dimension_count", 8),
			[]string{"head size 16"}},
		"nomic-bert: heads that are no embedding": {"nomic-bert", number("nomic-bert.attention.head_count", 2),
			[]string{"2 heads of 16", "make 32", "64"}},
		"gemma-embedding: no window": {"gemma-embedding", remove("gemma-embedding.attention.sliding_window"),
			[]string{"sliding_window", "missing"}},
		"gemma-embedding: no pooling": {"gemma-embedding", remove("gemma-embedding.pooling_type"),
			[]string{"pooling_type", "missing"}},
		"gemma-embedding: vectors of no size": {"gemma-embedding", remove("gemma-embedding.dense_2_feat_out"),
			[]string{"dense_2_feat_out", "are 0 and 256"}},
		"gemma-embedding: vectors of two sizes": {"gemma-embedding", number("gemma-embedding.dense_3_feat_in", 128),
			[]string{"dense_3_feat_in", "are 256 and 128"}},
		"gemma-embedding: vectors of another size": {"gemma-embedding", number("gemma-embedding.dense_3_feat_out", 128),
			[]string{"dense_3_feat_out", "is 128", "n_embd 64"}},
		"gemma2: a window of 0": {"gemma2", number("gemma2.attention.sliding_window", 0),
			[]string{"sliding_window", "is 0"}},
		"gemma3: logits within 0": {"gemma3", float("gemma3.final_logit_softcapping", 0),
			[]string{"final_logit_softcapping", "is 0", "positive"}},
		"gemma2: logits within 0": {"gemma2", float("gemma2.final_logit_softcapping", 0),
			[]string{"final_logit_softcapping", "is 0", "positive"}},
		"gemma2: scores within -50": {"gemma2", float("gemma2.attn_logit_softcapping", -50),
			[]string{"attn_logit_softcapping", "is -50"}},
		"gemma2: scores within infinity": {"gemma2", float("gemma2.attn_logit_softcapping", math.Inf(1)),
			[]string{"attn_logit_softcapping", "is +Inf"}},
		"olmo2: a window of 0": {"olmo2", number("olmo2.attention.sliding_window", 0),
			[]string{"sliding_window", "is 0"}},
		"olmo2: too few layers": {"olmo2", number("olmo2.block_count", 3),
			[]string{"3 layers with a window", "expected 4"}},
		"olmo2: heads unlike the embedding": {"olmo2", func(w *gguf.Writer) {
			w.SetUint32("olmo2.attention.key_length", 8)
			w.SetUint32("olmo2.attention.value_length", 8)
			w.SetUint32("olmo2.rope.dimension_count", 8)
		}, []string{"4 heads of 8 elements make 32, expected n_embd 64"}},
		"granite: embeddings times 0": {"granite", float("granite.embedding_scale", 0),
			[]string{"embedding_scale", "is 0", "positive"}},
		"granite: halves times 0": {"granite", float("granite.residual_scale", 0),
			[]string{"residual_scale", "is 0"}},
		"granite: scores times 0": {"granite", float("granite.attention.scale", 0),
			[]string{"attention.scale", "is 0"}},
		"granite: logits by 0": {"granite", float("granite.logit_scale", 0),
			[]string{"logit_scale", "is 0"}},
		"granite: no divisor": {"granite", remove("granite.logit_scale"),
			[]string{"logit_scale", "missing"}},
		"granite: positions, a number": {"granite", number("granite.rope.scaling.finetuned", 1),
			[]string{"finetuned", "bool"}},
		"cohere2: no window": {"cohere2", remove("cohere2.attention.sliding_window"),
			[]string{"sliding_window", "missing"}},
		"cohere2: logits times 0": {"cohere2", float("cohere2.logit_scale", 0),
			[]string{"logit_scale", "is 0"}},
		"smollm3: part of a head": {"smollm3", number("smollm3.rope.dimension_count", 8),
			[]string{"rope.dimension_count", "is 8", "16"}},
		"stablelm: odd part of a head": {"stablelm", number("stablelm.rope.dimension_count", 5),
			[]string{"rope.dimension_count", "is 5", "even"}},
		"glm4: sections that do not add up": {"glm4", sections(1, 1, 1, 0),
			[]string{"rope.dimension_sections", "[1 1 1 0]", "3 pairs", "8 elements", ": 4"}},
		"glm4: a fourth section":      {"glm4", sections(1, 1, 1, 1), []string{"[1 1 1 1]", "fourth", "position 0"}},
		"glm4: sections without time": {"glm4", sections(0, 2, 2, 0), []string{"[0 2 2 0]", "by time"}},
		"glm4: sections below 0":      {"glm4", sections(3, 3, -2, 0), []string{"[3 3 -2 0]"}},
		"glm4: three sections":        {"glm4", sections(1, 1, 2), []string{"3 numbers", "4"}},
		"glm4: one section for all": {"glm4", number("glm4.rope.dimension_sections", 1),
			[]string{"array of integers"}},
		"gpt-oss: no window": {"gpt-oss", remove("gpt-oss.attention.sliding_window"),
			[]string{"sliding_window", "missing"}},
		"gpt-oss: a window of 0": {"gpt-oss", number("gpt-oss.attention.sliding_window", 0),
			[]string{"sliding_window", "is 0"}},
		"gpt-oss: a single layer": {"gpt-oss", number("gpt-oss.block_count", 1),
			[]string{"1 layers with a window", "expected 2"}},
		"gpt-oss: no experts": {"gpt-oss", number("gpt-oss.expert_count", 0), []string{"expert_count", "is 0"}},
		"gpt-oss: more experts of a token than there are": {"gpt-oss", number("gpt-oss.expert_used_count", 5),
			[]string{"expert_used_count", "is 5 of 4"}},
		"gpt-oss: experts of no size": {"gpt-oss", remove("gpt-oss.expert_feed_forward_length"),
			[]string{"expert_feed_forward_length", "missing"}},
		"gpt-oss: part of a head": {"gpt-oss", number("gpt-oss.rope.dimension_count", 8),
			[]string{"rope.dimension_count", "is 8", "32"}},
		"starcoder2: epsilon of another norm": {"starcoder2", func(w *gguf.Writer) {
			w.Delete("starcoder2.attention.layer_norm_epsilon")
			w.SetFloat32("starcoder2.attention.layer_norm_rms_epsilon", 1e-5)
		}, []string{"starcoder2.attention.layer_norm_epsilon", "missing"}},
		"exaone4: a window of 0": {"exaone4", func(w *gguf.Writer) {
			w.SetUint32("exaone4.block_count", 64)
			w.SetUint32("exaone4.attention.sliding_window", 0)
		}, []string{"sliding_window", "is 0"}},
		"epsilon below 0": {"qwen3", float("qwen3.attention.layer_norm_rms_epsilon", -1),
			[]string{"layer_norm_rms_epsilon", "is -1"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(t, tt.arch, tt.change)
			if err == nil {
				t.Fatalf("accepted, expected an error with %q", tt.want)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
		})
	}
}

func keyHeads(name string, each ...int32) func(*gguf.Writer) {
	return func(w *gguf.Writer) { w.Set(name+".attention.head_count_kv", gguf.NumbersValue(each)) }
}

// Which layers of LFM2 convolve, and what those that attend see.
func TestLFM2Layers(t *testing.T) {
	set := func(change ...func(*gguf.Writer)) func(*gguf.Writer) {
		return func(w *gguf.Writer) {
			for _, f := range change {
				f(w)
			}
		}
	}
	for name, tt := range map[string]struct {
		change func(*gguf.Writer)
		want   []string
	}{
		"as written": {set(), []string{"conv of 3", "4 heads on 2, window 0"}},
		"each its own": {set(number("lfm2.block_count", 4), number("lfm2.shortconv.l_cache", 5),
			number("lfm2.attention.sliding_window", 8), keyHeads("lfm2", 1, 0, 4, 0)),
			[]string{"4 heads on 1, window 8", "conv of 5", "4 heads on 4, window 8", "conv of 5"}},
		"one for all": {number("lfm2.attention.head_count_kv", 2),
			[]string{"4 heads on 2, window 0", "4 heads on 2, window 0"}},
		"none is said": {remove("lfm2.attention.head_count_kv"),
			[]string{"4 heads on 4, window 0", "4 heads on 4, window 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			net, err := read(t, "lfm2", tt.change)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for il := range net.NLayer {
				g := build(net, net.Layer(il), il, nil, 0)
				for _, n := range g.Nodes {
					if a, ok := n.Attr.(graph.AttentionAttr); ok {
						got = append(got, fmt.Sprintf("%d heads on %d, window %d", a.Heads, a.KVHeads, a.Window))
					} else if n.Op == graph.Conv {
						got = append(got, fmt.Sprintf("conv of %d", g.Value(n.In[1]).Shape[0]))
					}
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestHParamsOfTinyModels(t *testing.T) {
	for _, name := range arch.Names() {
		s := synth.Tiny(name, gguf.F32)
		net, err := read(t, name, func(*gguf.Writer) {})
		if err != nil {
			t.Fatal(err)
		}
		want := arch.HParams{NLayer: s.Layers, NEmbd: s.Embd, NVocab: s.Vocab, NCtxTrain: s.Ctx, TiedOutput: s.Tied}
		switch name {
		case "bert":
			want.Positions, want.TokenTypes, want.Pooling = s.Ctx, 2, arch.PoolMean
		case "nomic-bert":
			want.TokenTypes, want.Pooling = 2, arch.PoolMean
		case "gemma-embedding":
			want.Pooling = arch.PoolMean
		case "gpt2":
			want.Positions = s.Ctx
		case "gemma2", "gemma4":
			want.LogitCap = 3
		case "granite", "granitemoe", "cohere2":
			want.LogitScale = 0.5
		case "phi3":
			want.Positions = 512
		}
		if net.HParams != want || net.Arch != name {
			t.Errorf("%s: sizes %+v of %q, want %+v", name, net.HParams, net.Arch, want)
		}
		shown := []arch.Size{{"n_ff", s.FF}, {"n_head", s.Heads}, {"n_head_kv", s.KVHeads}}
		if a, err := arch.Get(name); err != nil {
			t.Fatal(err)
		} else if n, ok := a.Example.Keys["expert_count"]; ok {
			shown = append(shown, arch.Size{Name: "n_expert", N: n.(int)},
				arch.Size{Name: "n_expert_used", N: a.Example.Keys["expert_used_count"].(int)})
			if n, ok := a.Example.Keys["expert_shared_feed_forward_length"]; ok {
				shown = append(shown, arch.Size{Name: "n_ff_shared", N: n.(int)})
			}
		} else if n, ok := a.Example.Keys["dense_2_feat_out"]; ok {
			shown = append(shown, arch.Size{Name: "dense_2_feat_out", N: n.(int)})
		}
		if !slices.Equal(net.Sizes, shown) {
			t.Errorf("%s: shows %v, want %v", name, net.Sizes, shown)
		}
	}
}

// attentions gives the constants of attention and the base of rotary positions of each layer.
func attentions(t *testing.T, net *arch.Net) (attns []graph.AttentionAttr, bases []float64) {
	t.Helper()
	for il := range net.NLayer {
		g := build(net, net.Layer(il), il, nil, 0)
		for _, n := range g.Nodes {
			switch a := n.Attr.(type) {
			case graph.AttentionAttr:
				attns = append(attns, a)
			case graph.RopeAttr:
				if len(bases) == il { // of q; k's is the same
					bases = append(bases, a.FreqBase)
				}
			}
		}
	}
	if len(attns) != net.NLayer || len(bases) != net.NLayer {
		t.Fatalf("%d layers, %d attend, %d rotate", net.NLayer, len(attns), len(bases))
	}
	return attns, bases
}

// Which layers of Gemma see a window, at which base, by what factor and within which bounds, with and without the keys
// that a file may lack.
func TestGemmaLayers(t *testing.T) {
	set := func(name string, keys map[string]any) func(*gguf.Writer) {
		return func(w *gguf.Writer) {
			for k, v := range keys {
				switch v := v.(type) {
				case int:
					w.SetUint32(name+"."+k, uint32(v))
				case float64:
					w.SetFloat32(name+"."+k, float32(v))
				case nil:
					w.Delete(name + "." + k)
				}
			}
		}
	}
	for name, tt := range map[string]struct {
		arch    string
		keys    map[string]any
		windows []int
		bases   []float64
		cap     float64
		logits  float64
		scale   float64
	}{
		"gemma3": {"gemma3", map[string]any{"rope.freq_base": 1e6}, []int{8, 8, 8, 8, 8, 0},
			[]float64{1e4, 1e4, 1e4, 1e4, 1e4, 1e6}, 0, 0, 1 / math.Sqrt(32)},
		"gemma-embedding": {"gemma-embedding", map[string]any{"rope.freq_base": 1e6}, []int{5, 5, 5, 5, 5, 0},
			[]float64{1e4, 1e4, 1e4, 1e4, 1e4, 1e6}, 0, 0, 1 / math.Sqrt(32)},
		"gemma3 without a window, logits within bounds": {"gemma3", map[string]any{"attention.sliding_window": nil,
			"rope.freq_base": 1e6, "final_logit_softcapping": 30.0}, []int{0, 0, 0, 0, 0, 0},
			[]float64{1e6, 1e6, 1e6, 1e6, 1e6, 1e6}, 0, 30, 1 / math.Sqrt(32)},
		"gemma2": {"gemma2", nil, []int{8, 0}, []float64{1e4, 1e4}, 1.5, 3, 1 / math.Sqrt(32)},
		"gemma2 by default": {"gemma2", map[string]any{"attention.sliding_window": nil, "attn_logit_softcapping": nil,
			"final_logit_softcapping": nil}, []int{4096, 0}, []float64{1e4, 1e4}, 50, 30, 1 / math.Sqrt(32)},
		"gemma4": {"gemma4", nil, []int{8, 0}, []float64{1e3, 1e4}, 0, 3, 1},
		"gemma4 by default": {"gemma4", map[string]any{"rope.freq_base": 1e6, "rope.freq_base_swa": nil,
			"attention.shared_kv_layers": nil, "final_logit_softcapping": nil}, []int{8, 0}, []float64{1e4, 1e6}, 0, 30,
			1},
	} {
		t.Run(name, func(t *testing.T) {
			net, err := read(t, tt.arch, set(tt.arch, tt.keys))
			if err != nil {
				t.Fatal(err)
			}
			attns, bases := attentions(t, net)
			if !slices.Equal(bases, tt.bases) || net.LogitCap != tt.logits {
				t.Errorf("bases %v, logits within %g; want %v, %g", bases, net.LogitCap, tt.bases, tt.logits)
			}
			for il, a := range attns {
				if a.Window != tt.windows[il] || a.Cap != tt.cap || a.Scale != tt.scale {
					t.Errorf("layer %d: window %d, scores within %g, times %g; want %d, %g, %g", il, a.Window, a.Cap,
						a.Scale, tt.windows[il], tt.cap, tt.scale)
				}
			}
		})
	}
}

// The largest Gemma of each generation, known by its layers, divides scores by the root of n_embd/n_head.
func TestLargestGemma(t *testing.T) {
	for name, layers := range map[string]uint32{"gemma2": 46, "gemma3": 62} {
		net, err := read(t, name, number(name+".block_count", layers))
		if err != nil {
			t.Fatal(err)
		}
		attns, _ := attentions(t, net)
		if want := 1 / math.Sqrt(64/4); attns[0].Scale != want {
			t.Errorf("%s of %d layers: scores times %g, want %g", name, layers, attns[0].Scale, want)
		}
	}
}

// What llama.cpp assumes where a key is missing, and what it takes from the keys of scaled positions.
func TestRope(t *testing.T) {
	const at = "llama.rope."
	scaling := func(kind string, more ...func(*gguf.Writer)) func(*gguf.Writer) {
		return func(w *gguf.Writer) {
			w.SetString(at+"scaling.type", kind)
			w.SetFloat32(at+"scaling.factor", 4)
			for _, f := range more {
				f(w)
			}
		}
	}
	type rope struct {
		dim, ctx                    int
		base, scale, ext, attention float64
	}
	plain := rope{dim: 16, ctx: 128, base: 10000, scale: 1, attention: 1}
	with := func(change func(*rope)) rope {
		r := plain
		change(&r)
		return r
	}
	quarter := with(func(r *rope) { r.scale = 0.25 })
	for name, tt := range map[string]struct {
		change func(*gguf.Writer)
		want   rope
	}{
		"as written": {func(*gguf.Writer) {}, plain},
		"defaults": {remove(at+"dimension_count", at+"freq_base", "llama.attention.key_length",
			"llama.attention.value_length"), plain},
		"base":               {float(at+"freq_base", 500000), with(func(r *rope) { r.base = 500000 })},
		"none":               {scaling("none"), plain},
		"linear":             {scaling("linear"), quarter},
		"linear by default":  {float(at+"scaling.factor", 4), quarter},
		"older name":         {float(at+"scale_linear", 4), quarter},
		"newer before older": {scaling("linear", float(at+"scale_linear", 2)), quarter},
		"yarn with keys at their usual values": {scaling("yarn", float(at+"scaling.yarn_beta_fast", 32),
			float(at+"scaling.yarn_log_multiplier", 0), float(at+"scaling.yarn_ext_factor", 1)),
			with(func(r *rope) { r.scale, r.ext = 0.25, 1 })},
		"yarn's keys where there is no yarn": {scaling("linear", float(at+"scaling.yarn_beta_fast", 8)), quarter},
		"yarn": {scaling("yarn", number(at+"scaling.original_context_length", 32),
			float(at+"scaling.attn_factor", 1.5)),
			rope{dim: 16, ctx: 32, base: 10000, scale: 0.25, ext: 1, attention: 1.5}},
	} {
		t.Run(name, func(t *testing.T) {
			net, err := read(t, "llama", tt.change)
			if err != nil {
				t.Fatal(err)
			}
			r := ropeOf(t, net)
			got := rope{int(r.Dim), int(r.CtxOrig), float64(r.FreqBase), float64(r.FreqScale), float64(r.ExtFactor),
				float64(r.AttnFactor)}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if r.Neox {
				t.Error("llama pairs adjacent elements, not the halves of a head")
			}
		})
	}
}
