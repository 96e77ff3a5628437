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

// TestVerifyVectors: llama.cpp's vectors with the adapter are ours, in every pooling; without it, or with other texts,
// they are not.
func TestVerifyVectors(t *testing.T) {
	path := synth.Temp(t, synth.Tiny("qwen3", gguf.Q8_0))
	m, err := engine.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := adapter.New(m.Net(), adapter.Config{Rank: 4, Alpha: 8, Init: "kaiming", Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	offZero(a, 0.8)
	file := filepath.Join(t.TempDir(), "adapter.gguf")
	if err := a.Save(t.Context(), atomicfile.OS, file); err != nil {
		t.Fatal(err)
	}
	s, err := engine.NewSession(m, engine.SessionConfig{Threads: 1, Sets: []engine.Set{{Adapter: a}}})
	if err != nil {
		t.Fatal(err)
	}
	var all []verify.Vectors
	tokens := tokens(60, m.HParams().NVocab)
	for _, p := range []arch.Pooling{arch.PoolMean, arch.PoolCLS, arch.PoolLast} {
		v := verify.Vectors{Pooling: p}
		for _, n := range []int{2, 30, 60} {
			row := engine.PlainRow(tokens[60-n:])
			row.Pooled = []int32{0}
			out, err := s.Forward(t.Context(), &engine.Batch{Rows: []engine.Row{row}},
				engine.Options{Want: []*engine.Output{engine.Pooled}, Pooling: p})
			if err != nil {
				t.Fatal(err)
			}
			v.Texts, v.Ours = append(v.Texts, row.Tokens), append(v.Ours, out[engine.Pooled])
		}
		all = append(all, v)
	}
	if err := errors.Join(s.Close(), m.Close()); err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		r, err := verify.VerifyVectors(t.Context(), path, file, v, 1)
		if err != nil || !(r.RMS < r.Moved/2) || r.Far < r.RMS {
			t.Errorf("%v: %+v, %v", v.Pooling, r, err)
		}
		if r, err = verify.VerifyVectors(t.Context(), path, "", v, 1); !errors.Is(err, verify.ErrDisagree) {
			t.Errorf("%v, without the adapter: %+v, %v", v.Pooling, r, err)
		}
		v.Ours = v.Ours[1:]
		if _, err = verify.VerifyVectors(t.Context(), path, file, v, 1); err == nil {
			t.Errorf("%v: a text without a vector is accepted", v.Pooling)
		}
	}
}
