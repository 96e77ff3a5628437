package verify_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/testdata"
)

func tokens(n, vocab int) []int32 {
	r := rand.New(rand.NewPCG(3, 11))
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(r.IntN(vocab))
	}
	return out
}

// TestLlamaAgreesWithAdapters writes adapters of every kind of target and has llama.cpp apply them.
func TestLlamaAgreesWithAdapters(t *testing.T) {
	type given struct {
		name, arch string
		untied     bool
		config     adapter.Config
	}
	cases := []given{
		{"llama, rank-stabilised", "llama", false, adapter.Config{RSLoRA: true}},
		{"llama, one role, one layer", "llama", false, adapter.Config{Targets: []string{"attn_k"}, Layers: []int{1}}},
		{"llama, output and embedding", "llama", true, adapter.Config{Targets: []string{"output", "token_embd"}}},
		{"gemma3, output and embedding", "gemma3", true, adapter.Config{Targets: []string{"output", "token_embd"}}},
		{"granite, output and embedding", "granite", true, adapter.Config{Targets: []string{"output", "token_embd"}}},
	}
	for _, name := range arch.Names() {
		cases = append(cases, given{name + ", all roles", name, false, adapter.Config{}})
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			spec := synth.Tiny(c.arch, gguf.Q8_0)
			if c.untied {
				spec.Tied = false
			}
			path := verify.NeedLlama(t, synth.Temp(t, spec))
			a, saved := verified(t, path, c.config, 0.1)
			t.Logf("difference: base %.2g, adapter %.2g", a.Base, a.Trained)

			// The file reads back as what was written.
			m, err := engine.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			back, err := adapter.Load(saved.path, m.Net())
			if err != nil {
				t.Fatal(err)
			}
			for i := range saved.pairs {
				if !slices.Equal(back.Pairs[i].A, saved.pairs[i].A) ||
					!slices.Equal(back.Pairs[i].B, saved.pairs[i].B) {
					t.Errorf("pair %s is not what was written", saved.pairs[i].Tensor)
				}
			}
		})
	}
}

// TestLlamaAgreesWithStrongAdapters: what makes the model more sensitive to rounding is no disagreement.
func TestLlamaAgreesWithStrongAdapters(t *testing.T) {
	worst := 0.0
	for _, typ := range []gguf.Type{gguf.Q8_0, gguf.Q4_0, gguf.F16} {
		for _, size := range []float64{0.3, 1, 3} {
			t.Run(fmt.Sprintf("%v, %g", typ, size), func(t *testing.T) {
				a, _ := verified(t, synth.Temp(t, synth.Tiny("llama", typ)), adapter.Config{}, size)
				worst = max(worst, a.Trained.RMS/a.Base.RMS)
				t.Logf("difference: base %.2g, adapter %.2g", a.Base, a.Trained)
			})
		}
	}
	if worst < 2 {
		t.Errorf("the largest ratio of distances is %.2g: no adapter here is strong", worst)
	}
}

// TestModelIsJudgedByWhatIsWritten: how far llama.cpp is from a quantized base excuses nothing in a file of F32.
func TestModelIsJudgedByWhatIsWritten(t *testing.T) {
	base, wide := synth.Temp(t, synth.Tiny("llama", gguf.Q4_0)), synth.Temp(t, synth.Tiny("llama", gguf.F32))
	q4 := gguf.Q4_0
	probe, sound := wholeOf(t, base, nil, 0)
	_, wrong := wholeOf(t, base, nil, 0.1)
	_, small := wholeOf(t, base, &q4, 0.1)
	size := 0.0
	for _, x := range probe.Trained {
		size += float64(x) * float64(x) / float64(len(probe.Trained))
	}
	far := verify.Distance{RMS: math.Sqrt(size)} // of the base: as large as the logits
	for _, tc := range []struct {
		name, file, base string
		ok               bool
	}{
		{"sound", sound, base, true},
		{"wrong, and written in F32", wrong, base, false},
		{"as wrong, and quantized as the base is", small, base, true},
		{"as wrong, and the base is F32 too", wrong, wide, true},
	} {
		a, err := probe.VerifyModel(t.Context(), tc.file, tc.base, far, 1)
		if tc.ok && err != nil || !tc.ok && !errors.Is(err, verify.ErrDisagree) {
			t.Errorf("%s: distance %.3g of logits of %.3g: %v", tc.name, a.Trained.RMS, far.RMS, err)
		}
	}
}

// wholeOf writes a model as if trained, in a type, after the probe of it: its first matrix is off by a share.
func wholeOf(t *testing.T, base string, typ *gguf.Type, off float32) (*verify.Probe, string) {
	t.Helper()
	m, err := engine.Open(base)
	if err != nil {
		t.Fatal(err)
	}
	s, err := engine.NewSession(m,
		engine.SessionConfig{Threads: 1, Sets: []engine.Set{{Whole: engine.Everything, Type: typ}}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := verify.NewProbe(t.Context(), s, tokens(20, m.HParams().NVocab), 0)
	if err != nil {
		t.Fatal(err)
	}
	x := s.Params()[0]
	all, err := x.Value.All()
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		all[i] *= 1 + off*float32(i%2)
	}
	out := filepath.Join(t.TempDir(), "model.gguf")
	if err := errors.Join(x.Value.Upload(all, 0), s.SaveModel(t.Context(), atomicfile.OS, out, "", 0), s.Close(),
		m.Close()); err != nil {
		t.Fatal(err)
	}
	return p, out
}

type savedAdapter struct {
	path  string
	pairs []adapter.Pair
}

// offZero gives each pair a B of that size.
func offZero(a *adapter.Adapter, size float64) {
	for i := range a.Pairs {
		for j := range a.Pairs[i].B {
			a.Pairs[i].B[j] = float32(math.Sin(float64(i+3*j)) * size)
		}
	}
}

// written makes an adapter whose B is of that size and saves it after the probe of it.
func written(t *testing.T, path string, c adapter.Config, size float64) (*verify.Probe, string, *adapter.Adapter) {
	t.Helper()
	m, err := engine.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	c.Rank, c.Alpha, c.Init = 4, 8, "kaiming"
	c.Seed = max(c.Seed, 1)
	ad, err := adapter.New(m.Net(), c)
	if err != nil {
		t.Fatal(err)
	}
	offZero(ad, size)
	s, err := engine.NewSession(m, engine.SessionConfig{Threads: 1, Sets: []engine.Set{{Adapter: ad}}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := verify.NewProbe(context.Background(), s, tokens(20, m.HParams().NVocab), 0)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(p.Base, p.Trained) {
		t.Fatal("the adapter changes nothing")
	}
	out := filepath.Join(t.TempDir(), "adapter.gguf")
	if err := errors.Join(ad.Save(context.Background(), atomicfile.OS, out), s.Close(), m.Close()); err != nil {
		t.Fatal(err)
	}
	return p, out, ad
}

// TestRoundingIsNoDisagreement: an adapter that changes less than the fast mode rounds is judged in the exact one.
func TestRoundingIsNoDisagreement(t *testing.T) {
	path := testdata.Path(t, "models", "stories260K", "stories260K-f32.gguf")
	for seed := range uint64(10) {
		p, out, _ := written(t, path, adapter.Config{Seed: seed + 1}, 3e-4)
		if a, err := p.VerifyAdapter(t.Context(), path, out, 1); err != nil {
			t.Errorf("seed %d: base %.2g, adapter %.2g: %v", seed+1, a.Base.RMS, a.Trained.RMS, err)
		}
	}
}

// verified writes an adapter whose B is of that size and has llama.cpp's logits compared with ours.
func verified(t *testing.T, path string, c adapter.Config, size float64) (verify.Agreement, savedAdapter) {
	t.Helper()
	p, out, ad := written(t, path, c, size)
	a, err := p.VerifyAdapter(context.Background(), path, out, 1)
	if err != nil {
		t.Fatal(err)
	}
	// A file that does less must not pass, however small the adapter.
	nothing := *ad
	nothing.Pairs = slices.Clone(ad.Pairs)
	for i := range nothing.Pairs {
		nothing.Pairs[i].B = make([]float32, len(ad.Pairs[i].B))
	}
	idle := filepath.Join(t.TempDir(), "idle.gguf")
	if err := nothing.Save(context.Background(), atomicfile.OS, idle); err != nil {
		t.Fatal(err)
	}
	if d, err := p.VerifyAdapter(context.Background(), path, idle, 1); !errors.Is(err, verify.ErrDisagree) {
		t.Errorf("an adapter that does nothing in the trained one's place: got %+v and error %v, want %v", d, err,
			verify.ErrDisagree)
	}
	return a, savedAdapter{out, ad.Pairs}
}
