package engine_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/ggtune/ggtune/bindings/llama"
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
			if err := adapterOf(t, c.Adapted()).Save(context.Background(), nil, lora); err != nil {
				t.Fatal(err)
			}
			for kind, want := range map[string]refmodel.Run{"base": c.Full, "adapter": c.Adapt} {
				path := ""
				if kind == "adapter" {
					path = lora
				}
				got := llamaLogits(t, base, path, c.Row.Tokens, want.LogitsAt)
				e := farthest(float64s(got), want.Logits)
				t.Logf("%s: logits within %.2g", kind, e)
				if bound := exactBound(t, c.Model.Arch); !(e <= bound) {
					t.Errorf("%s: llama.cpp's logits differ from transformers' by %.3g of the largest, want at most "+
						"%.3g", kind, e, bound)
				}
			}
		})
	}
}

// llamaLogits has llama.cpp read tokens and gives the logits behind one of them. lora may be empty.
func llamaLogits(t *testing.T, base, lora string, tokens []int32, at int) []float32 {
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
	ctx, err := m.NewContext(llama.VerifyContextOptions(len(tokens), 1))
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
	logits, err := ctx.Logits(context.Background(), tokens, []int{at})
	if err != nil {
		t.Fatal(err)
	}
	return logits
}
