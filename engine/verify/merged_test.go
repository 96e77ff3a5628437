package verify

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/internal/atomicfile"
)

// strong gives an adapter that changes what a model predicts.
func strong(t *testing.T, m *engine.Model) *adapter.Adapter {
	t.Helper()
	a, err := adapter.New(m.Net(), adapter.Config{Rank: 4, Alpha: 8, Init: "kaiming", Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	for i := range a.Pairs {
		for j := range a.Pairs[i].B {
			a.Pairs[i].B[j] = float32((i*7+j*5)%11-5) / 20
		}
	}
	return a
}

// TestVerifyMerged: the weights with the adapter added pass; the base alone does not, nor an adapter added twice. Of an
// encoder it is vectors that tell.
func TestVerifyMerged(t *testing.T) {
	for _, arch := range []string{"llama", "bert"} {
		path := synth.Temp(t, synth.Tiny(arch, gguf.F32))
		m, err := engine.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		a := strong(t, m)
		s, err := engine.NewSession(m, engine.SessionConfig{Threads: 1, Exact: true, Sets: []engine.Set{{Adapter: a}}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		tokens, err := textTokens(path)
		if err != nil {
			t.Fatal(err)
		}
		p, err := NewProbe(t.Context(), s, tokens, 0)
		if err != nil {
			t.Fatal(err)
		}
		for name, tc := range map[string]struct {
			scale float64
			ok    bool
		}{"merged": {1, true}, "the base alone": {0, false}, "added twice": {2, false}} {
			_, err := p.VerifyMerged(t.Context(), path, merged(t, m, a, tc.scale), true, 1)
			if tc.ok && err != nil {
				t.Errorf("%s, %s: %v", arch, name, err)
			}
			if !tc.ok && (!errors.Is(err, ErrDisagree) || !strings.Contains(err.Error(), "from there")) {
				t.Errorf("%s, %s: got %v, want a disagreement", arch, name, err)
			}
		}
	}
}

// merged writes a model with an adapter added.
func merged(t *testing.T, m *engine.Model, a *adapter.Adapter, scale float64) string {
	t.Helper()
	sum, err := adapter.NewSum(adapter.Scaled{Adapter: a, Scale: scale})
	if err != nil {
		t.Fatal(err)
	}
	var w gguf.Writer
	w.CopyMetadata(m.File())
	for i := range m.File().Tensors {
		info := &m.File().Tensors[i]
		data, err := m.File().Data(info)
		if err != nil {
			t.Fatal(err)
		}
		x := floats(data)
		sum.AddTo(info.Name, 0, x, info.Shape[0])
		if err := w.AddFloats(info.Name, info.Shape, x); err != nil {
			t.Fatal(err)
		}
	}
	out := t.TempDir() + "/merged.gguf"
	if err := w.WriteFile(t.Context(), atomicfile.OS, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func floats(data []byte) []float32 {
	x := make([]float32, len(data)/4)
	if _, err := binary.Decode(data, binary.LittleEndian, x); err != nil {
		panic(err)
	}
	return x
}
