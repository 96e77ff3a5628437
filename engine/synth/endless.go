package synth

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/ggtune/ggtune/engine/gguf"
)

// Endless writes a tiny gpt2, in F32, that has no token to end a text with into a new temporary folder of the test and
// returns its path.
func Endless(tb TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "endless.gguf")
	if err := writeEndless(path, Temp(tb, Tiny("gpt2", gguf.F32))); err != nil {
		tb.Fatal(err)
	}
	return path
}

func writeEndless(path, whole string) error {
	f, err := gguf.Open(whole)
	if err != nil {
		return err
	}
	defer f.Close()
	var w gguf.Writer
	w.CopyMetadata(f)
	w.Delete("tokenizer.ggml.eos_token_id")
	tokens, err := f.Strings("tokenizer.ggml.tokens")
	if err != nil {
		return err
	}
	tokens = slices.Clone(tokens)
	tokens[slices.Index(tokens, "<|endoftext|>")] = "<|other|>" // which llama.cpp knows by this name
	w.SetStrings("tokenizer.ggml.tokens", tokens)
	for i := range f.Tensors {
		if err := w.AddFrom(f, &f.Tensors[i]); err != nil {
			return err
		}
	}
	return w.WriteFile(context.Background(), nil, path)
}
