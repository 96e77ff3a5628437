package verify

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/testdata"
)

// passes checks a model and wants it sound.
func passes(t *testing.T, path string) *Report {
	t.Helper()
	rep, err := Check(t.Context(), path, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := rep.Err(); err != nil {
		t.Error(err)
	}
	if len(rep.Gradients) == 0 || rep.LargestLogit == 0 {
		t.Errorf("empty report: %+v", rep)
	}
	t.Logf("%s: logits %.2g of their size, exact %.2g, gradients %.1g",
		rep.Tokens, rep.LogitError, rep.ExactError, rep.GradientError)
	return rep
}

func TestCheckPassesOnGeneratedModels(t *testing.T) {
	for _, name := range arch.Names() {
		for _, typ := range []gguf.Type{gguf.F32, gguf.F16, gguf.Q8_0} {
			t.Run(name+"/"+typ.String(), func(t *testing.T) {
				rep := passes(t, NeedLlama(t, synth.Temp(t, synth.Tiny(name, typ))))
				want := textBound
				if typ != gguf.Q8_0 {
					want = floatBound
				}
				if rep.Tokens != "text" || rep.ExactBound != want {
					t.Errorf("computed on %s tokens, with a bound of %g in exact mode; want text and %g", rep.Tokens,
						rep.ExactBound,
						want)
				}
			})
		}
	}
	t.Run("no tokenizer", func(t *testing.T) {
		s := synth.Tiny("llama", gguf.Q8_0)
		s.Tokenizer = synth.NoTokenizer
		rep := passes(t, synth.Temp(t, s))
		if rep.Tokens != "random" || rep.LogitBound != randomBound || !strings.Contains(rep.Note, "no tokenizer") {
			t.Errorf("tokens %q, bound %g, note %q; want random ones, and a note that says why", rep.Tokens,
				rep.LogitBound,
				rep.Note)
		}
	})
	t.Run("fewer positions than tokens", func(t *testing.T) {
		s := synth.Tiny("gpt2", gguf.F32)
		s.Ctx = 12
		passes(t, synth.Temp(t, s))
	})
}

// TestCheckPassesOnRealModels: trained weights, as found in the wild. SmolLM2's logits for random tokens are so
// sensitive to rounding that the largest difference was 0.65 of the largest.
func TestCheckPassesOnRealModels(t *testing.T) {
	for _, name := range []string{"stories3M-f32", "stories3M-q4_0", "stories3M-pad256-q4_k_m"} {
		t.Run(name, func(t *testing.T) { passes(t, testdata.Path(t, "models", "stories3M", name+".gguf")) })
	}
	t.Run("SmolLM2", func(t *testing.T) { passes(t, testdata.Model(t, "SmolLM2-135M-Instruct.Q4_1.gguf")) })
}

// TestCheckRefusesWrongModels: what a mistake of ours would look like. We compute one model, llama.cpp the same with
// one thing changed.
func TestCheckRefusesWrongModels(t *testing.T) {
	bases := map[string]func(t *testing.T) string{
		"generated f32":  func(t *testing.T) string { return synth.Temp(t, synth.Tiny("llama", gguf.F32)) },
		"generated q8_0": func(t *testing.T) string { return synth.Temp(t, synth.Tiny("llama", gguf.Q8_0)) },
		"trained f32": func(t *testing.T) string {
			return testdata.Path(t, "models", "stories3M", "stories3M-f32.gguf")
		},
		"trained q8_0": func(t *testing.T) string {
			return testdata.Path(t, "models", "stories3M", "stories3M-q8_0.gguf")
		},
		"SmolLM2": func(t *testing.T) string { return testdata.Model(t, "SmolLM2-135M-Instruct.Q4_1.gguf") },
	}
	float32s := func(key string, x float32) func(*gguf.Writer) {
		return func(w *gguf.Writer) { w.SetFloat32("llama."+key, x) }
	}
	for name, base := range bases {
		t.Run(name, func(t *testing.T) {
			path := base(t)
			if err := beside(t, path, path).Err(); err != nil {
				t.Fatalf("the same file: %v", err)
			}
			for _, c := range []struct {
				name     string
				change   func(*gguf.Writer)
				to, from string // tensors of which one takes the other's place
				subtle   bool   // seen only where nothing is rounded to 8 bits
			}{
				{"values of another layer", nil, "blk.1.attn_v.weight", "blk.0.attn_v.weight", false},
				{"keys for values", nil, "blk.1.attn_v.weight", "blk.1.attn_k.weight", false},
				{"up for gate", nil, "blk.1.ffn_gate.weight", "blk.1.ffn_up.weight", false},
				{"output of another layer", nil, "blk.1.attn_output.weight", "blk.0.attn_output.weight", false},
				{"a norm of another layer", nil, "blk.1.attn_norm.weight", "blk.0.attn_norm.weight", true},
				{"another rotary base", float32s("rope.freq_base", 1000), "", "", true},
				{"another epsilon", float32s("attention.layer_norm_rms_epsilon", 0.1), "", "", true},
			} {
				rep := beside(t, path, changed(t, path, c.change, c.to, c.from))
				t.Logf("%s: logits %.2g of their size, exact %.2g", c.name, rep.LogitError, rep.ExactError)
				if err := rep.Err(); err == nil && (!c.subtle || rep.ExactBound == floatBound) {
					t.Errorf("%s: logits %.3g of their size, exact %.3g, were found sound", c.name, rep.LogitError,
						rep.ExactError)
				}
			}
		})
	}
}

// TestCheckRefusesWrongEncoders: the same of vectors of texts.
func TestCheckRefusesWrongEncoders(t *testing.T) {
	for _, typ := range []gguf.Type{gguf.F32, gguf.Q8_0} {
		path := synth.Temp(t, synth.Tiny("bert", typ))
		if err := beside(t, path, path).Err(); err != nil {
			t.Fatalf("%v, the same file: %v", typ, err)
		}
		for _, c := range []struct {
			name     string
			change   func(*gguf.Writer)
			to, from string
			subtle   bool
		}{
			{"values of another layer", nil, "blk.1.attn_v.weight", "blk.0.attn_v.weight", false},
			{"keys for values", nil, "blk.1.attn_v.weight", "blk.1.attn_k.weight", false},
			{"output of another layer", nil, "blk.1.attn_output.weight", "blk.0.attn_output.weight", false},
			{"a norm of another layer", nil, "blk.1.attn_output_norm.weight", "blk.0.attn_output_norm.weight", true},
			{"another epsilon", func(w *gguf.Writer) {
				w.SetFloat32("bert.attention.layer_norm_epsilon", 0.1)
			}, "", "", true},
		} {
			rep := beside(t, path, changed(t, path, c.change, c.to, c.from))
			t.Logf("%v, %s: vectors %.2g of their size, exact %.2g", typ, c.name, rep.LogitError, rep.ExactError)
			if err := rep.Err(); err == nil && (!c.subtle || rep.ExactBound == floatBound) {
				t.Errorf("%v, %s: vectors %.3g of their size, exact %.3g, were found sound", typ, c.name,
					rep.LogitError, rep.ExactError)
			}
		}
	}
}

// beside is Check's report without gradients, of our computation of one file and llama.cpp's of another.
func beside(t *testing.T, ours, theirs string) *Report {
	t.Helper()
	rep := &Report{Gradients: []GradientCheck{{}}}
	var probes [2]*Probe
	var far [2]Distance
	for i, exact := range []bool{false, true} {
		err := withSession(ours, engine.SessionConfig{Threads: 1, Exact: exact}, func(s *engine.Session) (err error) {
			probes[i], err = NewProbe(t.Context(), s, rep.tokens(s, 1), 0)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if far[i], err = probes[i].Distance(t.Context(), theirs, 1); err != nil {
			t.Fatal(err)
		}
	}
	rep.judge(probes[1], far[0], far[1])
	return rep
}

// changed copies a model with one thing changed.
func changed(t *testing.T, path string, change func(*gguf.Writer), to, from string) string {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var w gguf.Writer
	w.CopyMetadata(f)
	if change != nil {
		change(&w)
	}
	for i := range f.Tensors {
		info, source := &f.Tensors[i], &f.Tensors[i]
		if info.Name == to {
			if source, err = f.Tensor(from); err != nil {
				t.Fatal(err)
			}
		}
		data, err := f.Data(source)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.AddBytes(info.Name, source.Type, info.Shape, data); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(t.TempDir(), "changed.gguf")
	if err := w.WriteFile(t.Context(), atomicfile.OS, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestReportErr: a figure out of bounds, or no number, is a fault.
func TestReportErr(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, tc := range []struct {
		name                       string
		fast, exact, size, gradErr float64
		ok                         bool
	}{
		{"within bounds", 0.1, 0.01, 10, 1e-3, true},
		{"logits", 2, 0.01, 10, 1e-3, false},
		{"exact mode", 0.1, 0.5, 10, 1e-3, false},
		{"gradient", 0.1, 0.01, 10, 0.5, false},
		{"logits NaN", nan, 0.01, 10, 1e-3, false},
		{"exact mode NaN", 0.1, nan, 10, 1e-3, false},
		{"model of NaN", nan, nan, nan, nan, false},
		{"model of zeros", 0, 0, 0, 1e-3, false},
		{"gradient infinite", 0.1, 0.01, 10, inf, false},
		{"gradient NaN", 0.1, 0.01, 10, nan, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &Report{LogitBound: textBound, ExactBound: floatBound,
				Gradients: []GradientCheck{{Error: 1e-4}, {Error: tc.gradErr}}}
			r.judge(&Probe{Trained: []float32{float32(tc.size), -float32(tc.size)}}, Distance{RMS: tc.fast},
				Distance{RMS: tc.exact})
			if err := r.Err(); (err == nil) != tc.ok {
				t.Errorf("got %v, want within bounds: %v (%+v)", err, tc.ok, r)
			}
		})
	}
}
