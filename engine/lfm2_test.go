package engine_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/internal/atomicfile"
)

// twin is the same model as one that has experts from the layer behind the last on. Of those the Go module's llama.cpp
// runs the graph that a dense LFM2 has, which it opens no file of (bindings/llama: check_arch).
func twin(t *testing.T, path string) string {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var w gguf.Writer
	for _, kv := range f.KVs() {
		name := kv.Key
		if rest, ok := strings.CutPrefix(name, "lfm2."); ok {
			name = "lfm2moe." + rest
		}
		w.Set(name, kv.Value)
	}
	layers, err := f.Int("lfm2.block_count")
	if err != nil {
		t.Fatal(err)
	}
	w.SetString("general.architecture", "lfm2moe")
	w.SetUint32("lfm2moe.leading_dense_block_count", uint32(layers))
	w.SetUint32("lfm2moe.expert_feed_forward_length", 1)
	w.SetUint32("lfm2moe.expert_gating_func", 2)
	for i := range f.Tensors {
		x := &f.Tensors[i]
		data, err := f.Data(x)
		if err != nil {
			t.Fatal(err)
		}
		name := x.Name
		if name == "token_embd_norm.weight" {
			name = "output_norm.weight"
		}
		if err := w.AddBytes(name, x.Type, x.Shape, data); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(t.TempDir(), "twin.gguf")
	if err := w.WriteFile(t.Context(), atomicfile.OS, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// inLlama gives what llama.cpp is to open of a model and an adapter for it: the twin's, of an LFM2 that it does not
// open. One that opens an LFM2 opens no twin: it looks for the names of a dense one there too.
func inLlama(t *testing.T, base string, a *adapter.Adapter) (string, *adapter.Adapter) {
	t.Helper()
	if a.Arch != "lfm2" || verify.LlamaOpens(t, base) {
		return base, a
	}
	other := *a
	other.Arch = "lfm2moe"
	return twin(t, base), &other
}

// TestLFM2EqualsLlamasTwin: logits are those of the llama.cpp that opens no LFM2; of one that does TestLogitsEqualLlama
// says it.
func TestLFM2EqualsLlamasTwin(t *testing.T) {
	for _, typ := range []gguf.Type{gguf.F32, gguf.Q8_0, gguf.Q4_K} {
		t.Run(typ.String(), func(t *testing.T) {
			spec := synth.Tiny("lfm2", typ)
			spec.Layers = 5
			path := synth.Temp(t, spec)
			if verify.LlamaOpens(t, path) {
				t.Skip("llama.cpp opens the model itself")
			}
			other := twin(t, path)
			exact, fast := differenceFrom(t, other, path, true), differenceFrom(t, other, path, false)
			t.Logf("difference from llama.cpp: exact %.2g, fast %.2g", exact, fast)
			bound := llamaQuantized
			if typ == gguf.F32 {
				bound = exactBound(t, "lfm2")
			}
			if !(exact <= bound) || !(fast <= llamaQuantized) {
				t.Errorf("logits differ from llama.cpp's by %.3g (exact; bound %g) and %.3g (fast; bound %g) of the "+
					"largest", exact, bound, fast, llamaQuantized)
			}
		})
	}
}
