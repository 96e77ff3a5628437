package merge

import (
	"path/filepath"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/report"
)

// TestHolds: a merged model says what it was made of, and is taken for nothing else.
func TestHolds(t *testing.T) {
	base := synth.Temp(t, synth.Tiny("llama", gguf.F16))
	one, two := lora(t, base, 1, []string{"attn_q"}, nil), lora(t, base, 2, []string{"attn_v"}, nil)
	for name, tc := range map[string]struct {
		adapters []Adapter
		want     bool
	}{
		"it":     {[]Adapter{{one, 1}}, true},
		"scaled": {[]Adapter{{one, 0.5}}, false},
		"other":  {[]Adapter{{two, 1}}, false},
		"both":   {[]Adapter{{one, 1}, {two, 1}}, false},
	} {
		out := filepath.Join(t.TempDir(), "m.gguf")
		if _, err := Merge(t.Context(), Config{Model: base, Output: out, Threads: 1, Report: words,
			Adapters: tc.adapters}, report.Silent{}); err != nil {
			t.Fatal(err)
		}
		if got, err := Holds(t.Context(), out, base, one); err != nil || got != tc.want {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, tc.want)
		}
		if got, err := Holds(t.Context(), out, out, one); err != nil || got {
			t.Errorf("%s, of another base: got %v, %v", name, got, err)
		}
	}
	for _, path := range []string{base, "nothing.gguf"} {
		if got, err := Holds(t.Context(), path, base, one); err != nil || got {
			t.Errorf("%s: got %v, %v, want that it is none", path, got, err)
		}
	}
}
