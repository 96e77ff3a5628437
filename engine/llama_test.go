package engine_test

import (
	"context"
	"maps"
	"math"
	"path/filepath"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/internal/testdata"
)

// Tolerances of our logits against llama.cpp's, relative to the largest logit. llama.cpp rounds activations to 8 bits
// a number where weights are quantized, ours to bf16 in the fast mode and not at all in the exact one.
const (
	llamaFloat     = 1e-5 // f32 weights, exact mode; measured 9e-7
	llamaGELU      = 1e-3 // the same where there is a GELU, which llama.cpp reads from a table of f16; measured 2.8e-4
	llamaQuantized = 8e-2 // any other type, either mode; measured up to 4.6e-2; with f32 weights ours alone is 1e-2
)

func exactBound(t *testing.T, name string) float64 {
	t.Helper()
	a, err := arch.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	if a.Example.Rounded {
		return llamaGELU
	}
	return llamaFloat
}

// llamaDifference is the largest difference of a model's logits from llama.cpp's, relative to the largest logit.
func llamaDifference(t *testing.T, path string, exact bool) float64 {
	t.Helper()
	return differenceFrom(t, path, path, exact)
}

// differenceFrom is llamaDifference where llama.cpp opens another file.
func differenceFrom(t *testing.T, theirs, path string, exact bool) float64 {
	t.Helper()
	m, err := engine.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := engine.NewSession(m, engine.SessionConfig{Threads: 1, Exact: exact})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p, err := verify.NewProbe(context.Background(), s, tokens(3, 32, m.HParams().NVocab), 0)
	if err != nil {
		t.Fatal(err)
	}
	d, err := p.Distance(context.Background(), theirs, 1)
	if err != nil {
		t.Fatal(err)
	}
	largest := 0.0
	for _, v := range p.Trained {
		largest = math.Max(largest, math.Abs(float64(v)))
	}
	return d.Max / largest
}

func TestLogitsEqualLlama(t *testing.T) {
	for _, name := range arch.Names() {
		types := []gguf.Type{gguf.F32, gguf.Q8_0, gguf.Q4_K}
		if everyType(t, name) {
			types = storageTypes()
		}
		for _, typ := range types {
			spec := synth.Tiny(name, typ)
			if spec.Validate() != nil {
				continue // a type that the generator writes no blocks of, counted below
			}
			if typ != gguf.F32 {
				spec = spec.AllExperts()
			}
			t.Run(name+"/"+typ.String(), func(t *testing.T) {
				path := verify.NeedLlama(t, synth.Temp(t, spec))
				exact, fast := llamaDifference(t, path, true), llamaDifference(t, path, false)
				t.Logf("difference from llama.cpp: exact %.2g, fast %.2g", exact, fast)
				bound := llamaQuantized
				if typ == gguf.F32 {
					bound = exactBound(t, name)
				}
				if !(exact <= bound) || !(fast <= llamaQuantized) {
					t.Errorf("logits differ from llama.cpp's by %.3g (exact; bound %g) and %.3g (fast; bound %g) of "+
						"the largest", exact, bound, fast, llamaQuantized)
				}
			})
		}
	}
}

// stretched has positions of 16 tokens stretched.
func stretched(kind string, factor float32) func(*synth.Spec) {
	return func(s *synth.Spec) {
		keys := map[string]any{"rope.scaling.type": kind, "rope.scaling.factor": factor,
			"rope.scaling.original_context_length": 16}
		maps.Copy(keys, s.Keys)
		s.Keys = keys
	}
}

// TestLogitsEqualLlamaOnVariants: what the architectures may have beside the plain form.
func TestLogitsEqualLlamaOnVariants(t *testing.T) {
	for _, c := range []struct {
		name   string
		arch   string
		change func(*synth.Spec)
	}{
		{"llama 3 frequency factors", "llama", func(s *synth.Spec) { s.RopeFactors = true }},
		// The 32 tokens of a test go beyond the 16 of the original context.
		{"llama stretched in a line", "llama", stretched("linear", 4)},
		{"qwen2 stretched in a line", "qwen2", stretched("linear", 2.5)},
		{"llama stretched by YaRN", "llama", stretched("yarn", 4)},
		{"qwen2 stretched by YaRN", "qwen2", stretched("yarn", 4)},
		{"qwen3 stretched by YaRN, its scores too", "qwen3", func(s *synth.Spec) {
			stretched("yarn", 8)(s)
			s.Keys["rope.scaling.attn_factor"] = float32(0.75)
		}},
		{"gemma3 stretched by YaRN outside of windows", "gemma3", stretched("yarn", 8)},
		{"llama, tied", "llama", func(s *synth.Spec) { s.Tied = true }},
		{"llama with biases", "llama", func(s *synth.Spec) { s.Bias = true }},
		{"llama, other rope base and epsilon", "llama", func(s *synth.Spec) { s.RopeBase, s.NormEps = 500000, 1e-3 }},
		{"llama, heads of 48", "llama", func(s *synth.Spec) { s.HeadDim = 48 }},
		{"qwen2, untied", "qwen2", func(s *synth.Spec) { s.Tied = false }},
		{"qwen3, tied", "qwen3", func(s *synth.Spec) { s.Tied = true }},
		{"gemma3, untied", "gemma3", func(s *synth.Spec) { s.Tied = false }},
		{"gemma3, all in sight", "gemma3",
			func(s *synth.Spec) { s.Keys = map[string]any{"attention.sliding_window": 1000} }},
		{"gemma-embedding, an odd window, nothing behind the pooling", "gemma-embedding", func(s *synth.Spec) {
			s.Keys = map[string]any{"attention.sliding_window": 5, "dense_2_feat_out": nil, "dense_3_feat_in": nil}
		}},
		{"gemma-embedding, all in sight, positions stretched", "gemma-embedding", func(s *synth.Spec) {
			stretched("linear", 4)(s)
			s.Keys["attention.sliding_window"] = 1000
		}},
		{"nomic-bert stretched in a line", "nomic-bert", stretched("linear", 2)},
		{"gemma2, a narrow window, bounds far away", "gemma2", func(s *synth.Spec) {
			s.Keys = map[string]any{"attention.sliding_window": 3, "attn_logit_softcapping": float32(50),
				"final_logit_softcapping": float32(30)}
		}},
		{"phi3, tied, whole heads", "phi3", func(s *synth.Spec) {
			s.Tied = true
			s.Keys = map[string]any{"rope.dimension_count": 16}
		}},
		{"phi3 stretched in a line", "phi3", func(s *synth.Spec) {
			s.Keys = map[string]any{"rope.scaling.type": "longrope", "rope.scaling.factor": float32(2)}
		}},
		{"mistral3, neither stretched nor tempered", "mistral3", func(s *synth.Spec) {
			s.Keys = map[string]any{"rope.scaling.type": "none", "attention.temperature_scale": float32(0)}
		}},
		{"mistral3, every key of YaRN, tied, biases", "mistral3", func(s *synth.Spec) {
			s.Tied, s.Bias = true, true
			s.Keys = map[string]any{"rope.scaling.factor": float32(16), "rope.scaling.attn_factor": float32(1.25),
				"rope.scaling.yarn_beta_slow": float32(2), "rope.scaling.yarn_log_multiplier": float32(0.5)}
		}},
		{"gpt2, untied", "gpt2", func(s *synth.Spec) { s.Tied = false }},
		{"olmo2, all in sight", "olmo2",
			func(s *synth.Spec) { s.Keys = map[string]any{"attention.sliding_window": 1000} }},
		{"olmo2, positions stretched where there is no window", "olmo2", func(s *synth.Spec) {
			s.Keys = map[string]any{"rope.scaling.type": "yarn", "rope.scaling.factor": float32(4),
				"rope.scaling.original_context_length": 16}
		}},
		{"granite, untied, with biases", "granite", func(s *synth.Spec) { s.Tied, s.Bias = false, true }},
		{"granite without positions", "granite",
			func(s *synth.Spec) { s.Keys = map[string]any{"rope.scaling.finetuned": false} }},
		{"ernie4_5 with biases", "ernie4_5", func(s *synth.Spec) { s.HeadDim, s.Bias = 16, true }},
		{"smollm3 of 9 layers, untied", "smollm3", func(s *synth.Spec) { s.Layers, s.Tied = 9, false }},
		{"exaone4 of 64 layers", "exaone4", func(s *synth.Spec) {
			s.Layers, s.FF, s.Keys = 64, 32, map[string]any{"attention.sliding_window": 8}
		}},
		{"glm4 with biases, whole heads rotated, tied", "glm4", func(s *synth.Spec) {
			s.Bias, s.Tied, s.Keys = true, true, map[string]any{"rope.dimension_count": 16}
		}},
		{"glm4, sections of positions", "glm4",
			func(s *synth.Spec) { s.Keys = map[string]any{"rope.dimension_sections": []int32{1, 1, 2, 0}} }},
		// With a factor beside "none" llama.cpp from 0.5 on stretches the layers with windows all the same.
		{"gpt-oss, all experts, a narrow window, not stretched", "gpt-oss", func(s *synth.Spec) {
			s.Layers, s.Keys = 3, map[string]any{"expert_used_count": 4, "attention.sliding_window": 3,
				"rope.scaling.type": "none", "rope.scaling.factor": float32(1)}
		}},
		{"lfm2, untied, five taps, each layer its own", "lfm2", func(s *synth.Spec) {
			s.Tied, s.Layers = false, 4
			s.Keys = map[string]any{"attention.head_count_kv": []int{1, 0, 0, 4}, "shortconv.l_cache": 5}
		}},
		{"stablelm with biases, whole heads rotated", "stablelm",
			func(s *synth.Spec) { s.Bias, s.Keys = true, map[string]any{"rope.dimension_count": 16} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := synth.Tiny(c.arch, gguf.F32)
			c.change(&spec)
			if d := llamaDifference(t, verify.NeedLlama(t, synth.Temp(t, spec)), true); !(d <= exactBound(t, c.arch)) {
				t.Errorf("logits differ from llama.cpp's by %.3g of the largest, want at most %g", d,
					exactBound(t, c.arch))
			}
		})
	}
}

// TestLogitsEqualLlamaOnRealModels: trained weights, as found in the wild.
func TestLogitsEqualLlamaOnRealModels(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testdata.Shared(t), "models", "*", "*.gguf"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no models found: %v", err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			d := llamaDifference(t, path, false)
			t.Logf("difference from llama.cpp: %.2g", d)
			if !(d <= llamaQuantized) {
				t.Errorf("logits differ from llama.cpp's by %.3g of the largest, want at most %g", d, llamaQuantized)
			}
		})
	}
}

// TestPooledEqualsLlama: vectors of texts are llama.cpp's, however they are pooled.
func TestPooledEqualsLlama(t *testing.T) {
	for _, name := range []string{"qwen3", "llama", "gemma3", "nomic-bert", "gemma-embedding"} {
		path := synth.Temp(t, synth.Tiny(name, gguf.F32))
		m, err := engine.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		s, err := engine.NewSession(m, engine.SessionConfig{Threads: 1, Exact: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		n, row := m.HParams().NEmbd, engine.Row{}
		var texts [][]int32
		for i, long := range []int{32, 1, 9, 70} {
			texts = append(texts, tokens(uint64(i), long, m.HParams().NVocab))
			row.Segments = append(row.Segments, engine.Segment{Start: len(row.Tokens), Len: long, Parent: -1})
			row.Tokens, row.Pooled = append(row.Tokens, texts[i]...), append(row.Pooled, int32(i))
		}
		for _, p := range []arch.Pooling{arch.PoolMean, arch.PoolCLS, arch.PoolLast} {
			out, err := s.Forward(t.Context(), &engine.Batch{Rows: []engine.Row{row}},
				engine.Options{Want: []*engine.Output{engine.Pooled}, Pooling: p})
			if err != nil {
				t.Fatal(err)
			}
			want, err := verify.Pooled(t.Context(), path, texts, p, 1)
			if err != nil {
				t.Fatal(err)
			}
			for i := range texts {
				e := farthest(float64s(out[engine.Pooled][i*n:(i+1)*n]), float64s(want[i]))
				if bound := exactBound(t, name); !(e <= bound) {
					t.Errorf("%s, %v, text %d: differs by %.3g of the largest number, want at most %g", name, p, i, e,
						bound)
				}
				t.Logf("%s, %v, text %d: %.2g", name, p, i, e)
			}
		}
	}
}
