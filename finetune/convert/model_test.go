package convert_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/convert"
)

const recorded = "testdata/hub"

// TestModelEqualsConverter: of every architecture a folder becomes, byte for byte, the file that llama.cpp's converter
// makes of it (scripts/record_hub.py): weights in one file and in several, f32, f16 and bf16, scaled positions, a chat
// template, sampling settings, a tokenizer of SentencePiece's alone, WordPiece, Unigram, positions behind the padding
// token, and pooling. Of e5, a BertModel with XLM-RoBERTa's vocabulary, the converter is told to read that so.
func TestModelEqualsConverter(t *testing.T) {
	done := map[string]bool{}
	for name, typ := range map[string]string{"llama": "", "qwen2": "", "qwen3": "", "gpt2": "f16", "mistral": "",
		"bert": "f16", "nomic_bert": "", "xlmr": "f16", "e5": "f16"} {
		done[strings.ReplaceAll(name, "_", "-")] = true
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "model.gguf")
			job := convert.ModelJob{In: filepath.Join(recorded, name), Out: out, Type: typ}
			r, err := convert.Model(context.Background(), job)
			if err != nil {
				t.Fatal(err)
			}
			if r.Compared < 500 {
				t.Errorf("only %d tokens were compared with the definition", r.Compared)
			}
			want := filepath.Join(recorded, name+".gguf")
			if !bytes.Equal(read(t, out), read(t, want)) {
				t.Errorf("not the converter's file; %v", differences(t, out, want))
			}
		})
	}
	for _, name := range arch.Names() {
		if !done[name] && hubOf(t, name).Models() {
			t.Errorf("architecture %s has no recording in %s", name, recorded)
		}
	}
}

// TestModelSentencePiece: where there is no tokenizer.model the converter writes the same score for every token, and
// llama.cpp merges from the left. All else is equal.
func TestModelSentencePiece(t *testing.T) {
	out := filepath.Join(t.TempDir(), "model.gguf")
	if _, err := convert.Model(context.Background(),
		convert.ModelJob{In: filepath.Join(recorded, "llama_spm"), Out: out}); err != nil {
		t.Fatal(err)
	}
	got := differences(t, out, filepath.Join(recorded, "llama_spm.gguf"))
	if want := []string{"tokenizer.ggml.scores"}; !slices.Equal(got, want) {
		t.Errorf("differs from the converter's file in %q, want %q", got, want)
	}
}

// TestModelTinyStories: the published folder names its one embedding lm_head, and its metadata what else that is. The
// converter writes output.weight and no token_embd.weight, which llama.cpp does not open.
func TestModelTinyStories(t *testing.T) {
	const models = "../../../shared/data/models/"
	in := models + "raw/TinyStories-656K"
	if _, err := os.Stat(in); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s is not here", in)
	}
	out := filepath.Join(t.TempDir(), "model.gguf")
	r, err := convert.Model(context.Background(), convert.ModelJob{In: in, Out: out})
	if err != nil {
		t.Fatal(err)
	}
	if r.Tensors != 20 || r.Type != "f32" {
		t.Errorf("%d tensors of type %s, want 20 of f32", r.Tensors, r.Type)
	}
	f, g := open(t, out), open(t, models+"TinyStories-656K/TinyStories-656K-f32.gguf")
	for i := range g.Tensors {
		want, err := g.Data(&g.Tensors[i])
		if err != nil {
			t.Fatal(err)
		}
		if got := data(t, f, g.Tensors[i].Name); !bytes.Equal(got, want) {
			t.Errorf("tensor %q is another", g.Tensors[i].Name)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func open(t *testing.T, path string) *gguf.File {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func data(t *testing.T, f *gguf.File, name string) []byte {
	t.Helper()
	info, err := f.Tensor(name)
	if err != nil {
		t.Error(err)
		return nil
	}
	b, err := f.Data(info)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// differences lists the keys and tensors in which two files differ, and "order" if that is all.
func differences(t *testing.T, one, other string) (out []string) {
	t.Helper()
	f, g := open(t, one), open(t, other)
	keys := func(f *gguf.File) (out []string) {
		for _, kv := range f.KVs() {
			out = append(out, kv.Key)
		}
		return out
	}
	for _, key := range slices.Compact(slices.Sorted(slices.Values(append(keys(f), keys(g)...)))) {
		a, errA := f.Value(key)
		b, errB := g.Value(key)
		if errA != nil || errB != nil || a.TypeName() != b.TypeName() || !cmp.Equal(a.Any(), b.Any()) {
			out = append(out, key)
		}
	}
	if len(f.Tensors) != len(g.Tensors) {
		out = append(out, "number of tensors")
	}
	for i := range g.Tensors {
		want, err := g.Data(&g.Tensors[i])
		if err != nil {
			t.Fatal(err)
		}
		if !f.HasTensor(g.Tensors[i].Name) || !bytes.Equal(data(t, f, g.Tensors[i].Name), want) {
			out = append(out, g.Tensors[i].Name)
		}
	}
	if out == nil {
		out = []string{"order"}
	}
	return out
}
