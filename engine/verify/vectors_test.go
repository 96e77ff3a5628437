package verify_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/internal/atomicfile"
)

// TestVerifyVectors: llama.cpp's vectors with the adapter are ours, in every pooling; without it, or pooled otherwise,
// they are not.
func TestVerifyVectors(t *testing.T) {
	path := synth.Temp(t, synth.Tiny("qwen3", gguf.Q8_0))
	probes, file := verifyVectors(t, path)
	for i, p := range probes {
		other := *p
		other.Pooling = probes[(i+1)%len(probes)].Pooling
		if d, err := other.VerifyAdapter(t.Context(), path, file, 1); !errors.Is(err, verify.ErrDisagree) {
			t.Errorf("%v, with llama.cpp's of pooling %v: %+v, %v", p.Pooling, other.Pooling, d, err)
		}
	}
}

// TestVerifyVectorsOfXLMR: the same of XLM-RoBERTa, in several storage types.
func TestVerifyVectorsOfXLMR(t *testing.T) {
	for _, typ := range []gguf.Type{gguf.F32, gguf.Q8_0, gguf.Q4_K} {
		t.Run(typ.String(), func(t *testing.T) {
			spec := synth.Tiny("bert", typ)
			spec.Tokenizer = synth.Unigram
			verifyVectors(t, synth.Temp(t, spec))
		})
	}
}

// verifyVectors wants llama.cpp's vectors with an adapter to be ours, in every pooling, and no others without it. It
// gives ours, and the adapter's file.
func verifyVectors(t *testing.T, path string) (probes []*verify.Probe, file string) {
	t.Helper()
	m, err := engine.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := adapter.New(m.Net(), adapter.Config{Rank: 4, Alpha: 8, Init: "kaiming", Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	idle := saved(t, a)
	offZero(a, 0.8)
	file = saved(t, a)
	s, err := engine.NewSession(m, engine.SessionConfig{Threads: 1, Sets: []engine.Set{{Adapter: a}}})
	if err != nil {
		t.Fatal(err)
	}
	all := tokens(60, m.HParams().NVocab)
	for _, pooling := range []arch.Pooling{arch.PoolMean, arch.PoolCLS, arch.PoolLast} {
		p, err := verify.NewVectorProbe(t.Context(), s, [][]int32{all[:2], all[:30], all}, pooling)
		if err != nil {
			t.Fatal(err)
		}
		probes = append(probes, p)
	}
	if err := errors.Join(s.Close(), m.Close()); err != nil {
		t.Fatal(err)
	}
	for _, p := range probes {
		d, err := p.VerifyAdapter(t.Context(), path, file, 1)
		if err != nil || !(d.Trained.RMS > 0) || d.Trained.Max < d.Trained.RMS {
			t.Errorf("%v: %+v, %v", p.Pooling, d, err)
		}
		t.Logf("%v: %+v", p.Pooling, d)
		if d, err := p.VerifyAdapter(t.Context(), path, idle, 1); !errors.Is(err, verify.ErrDisagree) {
			t.Errorf("%v, with an adapter that does nothing: %+v, %v", p.Pooling, d, err)
		}
	}
	return probes, file
}

// saved writes an adapter.
func saved(t *testing.T, a *adapter.Adapter) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "adapter.gguf")
	if err := a.Save(t.Context(), atomicfile.OS, file); err != nil {
		t.Fatal(err)
	}
	return file
}
