package run

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/config"
)

// endless is a model with no token that ends a text.
func endless(t *testing.T) string {
	t.Helper()
	f, err := gguf.Open(synth.Temp(t, synth.Tiny("gpt2", gguf.F32)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var g gguf.Writer
	g.CopyMetadata(f)
	g.Delete("tokenizer.ggml.eos_token_id")
	tokens, err := f.Strings("tokenizer.ggml.tokens")
	if err != nil {
		t.Fatal(err)
	}
	tokens = slices.Clone(tokens)
	tokens[slices.Index(tokens, "<|endoftext|>")] = "<|other|>" // which llama.cpp knows by this name
	g.SetStrings("tokenizer.ggml.tokens", tokens)
	for i := range f.Tensors {
		x := &f.Tensors[i]
		data, err := f.Data(x)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.AddBytes(x.Name, x.Type, x.Shape, data); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "endless.gguf")
	if err := g.WriteFile(t.Context(), nil, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestEndless: a model that has no token to end an answer with is trained, and it is said which word is taken for one.
func TestEndless(t *testing.T) {
	c := rollConfig(t, "grpo")
	c.Model, c.Steps, c.EvalSplit, c.EvalEvery, c.Reward = endless(t), 2, config.Fixed(0.0), config.Fixed(0),
		[]string{"repetition=1", "regex=[aeiou]"}
	rec := &recorder{}
	if _, err := Train(t.Context(), c, rec); err != nil {
		t.Fatal(err)
	}
	want := c.Model + " has no token that ends a text, and llama.cpp takes \""
	if !strings.Contains(rec.notes(), want) {
		t.Errorf("noted %s, want %s", rec.notes(), want)
	}
}
