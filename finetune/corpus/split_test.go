package corpus

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/internal/atomicfile"
)

// TestUnknownSplitIsRefused: a way of splitting text that llama.cpp would replace by its own stops whoever needs the
// tokens; those that it knows, and files that name none, do not.
func TestUnknownSplitIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(w *gguf.Writer)
		want   string
	}{
		"known":     {func(*gguf.Writer) {}, ""},
		"none":      {func(w *gguf.Writer) { w.Delete("tokenizer.ggml.pre") }, ""},
		"by itself": {func(w *gguf.Writer) { w.SetString("tokenizer.ggml.pre", "default") }, ""},
		"unknown": {func(w *gguf.Writer) { w.SetString("tokenizer.ggml.pre", "of-tomorrow") },
			`splits text as "of-tomorrow" (tokenizer.ggml.pre)`},
		"no text": {func(w *gguf.Writer) { w.SetUint32("tokenizer.ggml.pre", 3) }, "tokenizer.ggml.pre"},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := synth.Tiny("qwen2", gguf.F32).Writer()
			if err != nil {
				t.Fatal(err)
			}
			tt.change(w)
			path := filepath.Join(t.TempDir(), "model.gguf")
			if err := w.WriteFile(context.Background(), atomicfile.OS, path); err != nil {
				t.Fatal(err)
			}
			f, err := gguf.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			err = CheckTokenizer(f)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) ||
				!strings.Contains(err.Error(), path)) {
				t.Errorf("got %v, want %q and the file's name", err, tt.want)
			}
		})
	}
}
