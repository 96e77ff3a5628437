package run

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
)

// rewritten is a tiny llama with other metadata or tensors. tensor may change the bytes of one, give nil to
// leave it out, or twice as many to make it f64.
func rewritten(t *testing.T, meta func(w *gguf.Writer), tensor func(name string, data []byte) []byte) string {
	t.Helper()
	f, err := gguf.Open(synth.Temp(t, synth.Tiny("llama", gguf.F32)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var w gguf.Writer
	w.CopyMetadata(f)
	meta(&w)
	for i := range f.Tensors {
		info := &f.Tensors[i]
		data, err := f.Data(info)
		if err != nil {
			t.Fatal(err)
		}
		typ := info.Type
		if data = tensor(info.Name, append([]byte(nil), data...)); data == nil {
			continue
		} else if int64(len(data)) == 2*info.Size {
			typ = gguf.F64
		}
		if err := w.AddBytes(info.Name, typ, info.Shape, data); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "rewritten.gguf")
	if err := w.WriteFile(t.Context(), nil, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func sameTensor(_ string, data []byte) []byte { return data }

// TestBadModels: files that are sound but no model to train are refused with what was found and expected, before
// anything is written.
func TestBadModels(t *testing.T) {
	for _, tc := range []struct {
		name   string
		meta   func(w *gguf.Writer)
		tensor func(name string, data []byte) []byte
		want   []string
	}{
		{"a vocabulary", func(*gguf.Writer) {}, func(string, []byte) []byte { return nil },
			[]string{"holds a vocabulary but no tensors"}},
		{"another architecture", func(w *gguf.Writer) { w.SetString("general.architecture", "mamba") }, sameTensor,
			[]string{`architecture "mamba" cannot be trained`, strings.Join(arch.Names(), ", ")}},
		{"a tensor missing", func(*gguf.Writer) {}, func(name string, data []byte) []byte {
			if name == "blk.1.ffn_up.weight" {
				return nil
			}
			return data
		}, []string{`tensor "blk.1.ffn_up.weight" is missing`}},
		{"a type of no weights", func(*gguf.Writer) {}, func(name string, data []byte) []byte {
			if name == "blk.1.ffn_up.weight" {
				return append(data, data...)
			}
			return data
		}, []string{`tensor "blk.1.ffn_up.weight" is storage type f64`, "f32, f16, q4_0"}},
		{"millions of layers", func(w *gguf.Writer) { w.SetUint32("llama.block_count", 1<<24) }, sameTensor,
			[]string{`"llama.block_count" is 16777216, expected 1 to 512`}},
		{"other sizes than the tensors'", func(w *gguf.Writer) { w.SetUint32("llama.feed_forward_length", 96) },
			sameTensor,
			[]string{"has shape [64 128], expected [64 96]"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := tinyConfig(t, gguf.F32)
			c.Model = rewritten(t, tc.meta, tc.tensor)
			_, err := Train(t.Context(), c, report.Silent{})
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range append(tc.want, "rewritten.gguf") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
			if _, err := os.Stat(c.Output); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the output directory was made: %v", err)
			}
		})
	}
}

// TestNaNInModel: a weight that is no number ends the run before a parameter changes, and no adapter is written.
func TestNaNInModel(t *testing.T) {
	model := rewritten(t, func(*gguf.Writer) {}, func(name string, data []byte) []byte {
		if name == "blk.0.ffn_up.weight" {
			binary.LittleEndian.PutUint32(data[40:], math.Float32bits(float32(math.NaN())))
		}
		return data
	})
	for name, held := range map[string]float64{"measured first": 0.2, "trained on at once": 0} {
		t.Run(name, func(t *testing.T) {
			c := tinyConfig(t, gguf.F32)
			c.Model, c.EvalSplit, c.EvalEvery = model, config.Fixed(held), config.Fixed(0)
			_, err := Train(t.Context(), c, report.Silent{})
			if err == nil || !strings.Contains(err.Error(), "not finite") ||
				!strings.Contains(err.Error(), "ggtune check") {
				t.Errorf("got %v, want that a loss is not finite and what to do", err)
			}
			if _, err := os.Stat(filepath.Join(c.Output, fileAdapter)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("an adapter was written: %v", err)
			}
			if _, err := os.Stat(c.Output); held > 0 && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a directory is left of a run that never began: %v", err)
			}
		})
	}
}

// TestNaNInModelThatAnswers: a model whose answers are learned from writes none, and the tensor is named.
func TestNaNInModelThatAnswers(t *testing.T) {
	c := rollConfig(t, "grpo")
	c.Model = rewritten(t, func(*gguf.Writer) {}, func(name string, data []byte) []byte {
		if name == "blk.0.ffn_up.weight" {
			binary.LittleEndian.PutUint32(data[40:], math.Float32bits(float32(math.NaN())))
		}
		return data
	})
	for _, held := range []float64{0.2, 0} {
		c.EvalSplit, c.EvalEvery = config.Fixed(held), config.Fixed(0)
		_, err := Train(t.Context(), c, report.Silent{})
		if err == nil || !strings.Contains(err.Error(), `"blk.0.ffn_up.weight"`) ||
			strings.Contains(err.Error(), ": :") {
			t.Errorf("got %v, want that a weight is no number, and which", err)
		}
		if _, err := os.Stat(filepath.Join(c.Output, fileAdapter)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("an adapter was written: %v", err)
		}
		if err := os.RemoveAll(c.Output); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAdapterOfAnotherShape: an adapter of the same architecture but another size is refused.
func TestAdapterOfAnotherShape(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	c.Steps, c.EvalSplit, c.EvalEvery = 1, config.Fixed(0.0), config.Fixed(0)
	s := mustTrain(t, c)
	wide := synth.Tiny("llama", gguf.F32)
	wide.Embd *= 2
	shallow := synth.Tiny("llama", gguf.F32)
	shallow.Layers = 1
	for name, spec := range map[string]synth.Spec{"wider": wide, "fewer layers": shallow} {
		t.Run(name, func(t *testing.T) {
			e := c
			e.Model = synth.Temp(t, spec)
			if _, err := Evaluate(t.Context(), e, s.Result, nil, report.Silent{}); err == nil ||
				!strings.Contains(err.Error(), "belongs to another model") ||
				!strings.Contains(err.Error(), "adapter.gguf") {
				t.Errorf("got %v, want that the adapter belongs to another model", err)
			}
		})
	}
}
