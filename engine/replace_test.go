package engine_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/quant"
	"github.com/ggtune/ggtune/quant/mix"
)

// TestWith: a model with tensors in another type in place of its own predicts what a file with them does.
func TestWith(t *testing.T) {
	path := synth.Temp(t, synth.Tiny("llama", gguf.F32))
	m, err := engine.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	arena := ggml.NewArena()
	defer arena.Close()
	f, instead := m.File(), map[string]engine.Stored{}
	plan, err := quant.NewPlan(f, quant.Choice{Mix: mix.Single(gguf.F32),
		Types: map[string]gguf.Type{"attn_v": gguf.Q4_0, "token_embd": gguf.Q5_1}})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range plan.Changes {
		if c.To == c.Tensor.Type {
			continue
		}
		data, err := arena.Bytes(c.ToBytes)
		if err != nil {
			t.Fatal(err)
		}
		if err := quant.Tensor(context.Background(), f, quant.FileRows(f), i, c.To, nil, data, 1); err != nil {
			t.Fatal(err)
		}
		instead[c.Tensor.Name] = engine.Stored{Type: c.To, Data: data}
	}
	if len(instead) != 3 {
		t.Fatalf("%d tensors changed, want attn_v of two layers and token_embd", len(instead))
	}
	other, err := m.With(instead)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out.gguf")
	if _, err := quant.Write(context.Background(), plan, quant.FileRows(f), out, quant.Output{}); err != nil {
		t.Fatal(err)
	}
	written, err := engine.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer written.Close()
	got, want, was := logits(t, other), logits(t, written), logits(t, m)
	if !slices.Equal(got, want) || slices.Equal(got, was) {
		t.Errorf("predictions equal the file's: %v; the model's own: %v", slices.Equal(got, want),
			slices.Equal(got, was))
	}
	for name, bad := range map[string]map[string]engine.Stored{
		"none that the model has":      {"blk.9.attn_v.weight": {}},
		"3 bytes given in its place":   {"token_embd.weight": {Type: gguf.F32, Data: make([]byte, 3)}},
		`tensor "token_embd.weight": `: {"token_embd.weight": {Type: 77}},
	} {
		if _, err := m.With(bad); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
}

// logits are a model's on a few tokens.
func logits(t *testing.T, m *engine.Model) []float32 {
	t.Helper()
	s, err := engine.NewSession(m, engine.SessionConfig{Threads: 1, Exact: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.Forward(context.Background(), batch(chain(tokens(1, 9, m.HParams().NVocab))),
		engine.Options{Want: []*engine.Output{engine.Logits}})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(out[engine.Logits])
}
