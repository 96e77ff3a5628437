package engine_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/internal/refmodel"
)

// TestLlamaRunsRecordedModels: llama.cpp reads the recorded models from their files as transformers computed them (rope
// scaling, permuted rows, adapters), so that file, recording and llama.cpp mean the same model.
func TestLlamaRunsRecordedModels(t *testing.T) {
	cases, err := refmodel.Recordings()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if len(c.Row.Segments) > 1 {
			continue // llama.cpp reads chains
		}
		t.Run(c.Name, func(t *testing.T) {
			dir := t.TempDir()
			base, lora := filepath.Join(dir, "base.gguf"), filepath.Join(dir, "adapter.gguf")
			if err := c.Model.WriteGGUF(base); err != nil {
				t.Fatal(err)
			}
			base, a := inLlama(t, base, adapterOf(t, c.Adapted()))
			verify.NeedLlama(t, base)
			if err := a.Save(context.Background(), nil, lora); err != nil {
				t.Fatal(err)
			}
			for kind, want := range map[string]refmodel.Run{"base": c.Full, "adapter": c.Adapt} {
				path := ""
				if kind == "adapter" {
					path = lora
				}
				e := llamaFrom(t, base, path, c.Row.Tokens, want)
				t.Logf("%s: within %.2g", kind, e)
				if bound := exactBound(t, c.Model.Arch); !(e <= bound) {
					t.Errorf("%s: llama.cpp differs from transformers by %.3g of the largest number, want at most %.3g",
						kind, e, bound)
				}
			}
		})
	}
}

// llamaFrom has llama.cpp read tokens, and says how far the logits behind one of them, or the mean of their states, are
// from what was recorded, relative to the largest number. lora may be empty.
func llamaFrom(t *testing.T, base, lora string, tokens []int32, want refmodel.Run) float64 {
	t.Helper()
	m, err := llama.OpenModel(base, llama.VerifyModelOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	o := llama.VerifyContextOptions(len(tokens), 1)
	if want.Pooled != nil {
		o.Gives, o.Pooling = llama.GivesPooled, int(arch.PoolMean)
	}
	ctx, err := m.NewContext(o)
	if err != nil {
		t.Fatal(err)
	}
	defer ctx.Close()
	if lora != "" {
		a, err := m.LoadAdapter(lora)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		if err := ctx.SetAdapters([]*llama.Adapter{a}, []float32{1}); err != nil {
			t.Fatal(err)
		}
	}
	if want.Pooled != nil {
		v, err := ctx.Pooled(t.Context(), tokens)
		if err != nil {
			t.Fatal(err)
		}
		return farthest(float64s(v), want.Pooled)
	}
	logits, err := ctx.Logits(t.Context(), tokens, []int{want.LogitsAt})
	if err != nil {
		t.Fatal(err)
	}
	return farthest(float64s(logits), want.Logits)
}
