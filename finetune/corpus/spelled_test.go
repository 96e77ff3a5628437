package corpus

import (
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/internal/testdata"
)

// TestSpelled: of a text that nobody chose the lines are left out that a vocabulary without bytes cannot spell, and
// that is said; a text that the user gave is refused instead.
func TestSpelled(t *testing.T) {
	m, err := engine.Open(testdata.Path(t, "models", "TinyStories-656K", "TinyStories-656K-q8_0.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	cfg := config.Default()
	how, err := cfg.Loss()
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(&cfg, m, how)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const good, bad = "Once upon a time there was a cow.\nShe ate hay.\n", "She ate (some) hay.\n"
	plain, err := r.Literal("a text", good, 64)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{good: "a text",
		strings.Replace(good, "\n", "\n"+bad, 1): "a text, without the 1 of its 4 lines that the vocabulary " +
			"cannot spell"} {
		items, what, err := r.Spelled("a text", text, 64)
		if err != nil || what != want || len(items) != len(plain) ||
			len(items[0].Tokens) != len(plain[0].Tokens) {
			t.Errorf("got %d items of %q, %v, want %d of %q", len(items), what, err, len(plain), want)
		}
	}
	if _, _, err := r.Spelled("a text", bad, 64); err == nil || !strings.Contains(err.Error(), "'('") {
		t.Errorf("a text of which nothing can be spelled: got %v", err)
	}
	if _, err := r.Literal("a text", good+bad, 64); err == nil {
		t.Error("a text of the user's is cut")
	}
}
