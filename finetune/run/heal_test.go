package run

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
)

// TestHeal: on its own text, which the seed fixes, a quantized model comes nearer to the file that it was made of.
func TestHeal(t *testing.T) {
	from := synth.Temp(t, synth.Tiny("llama", gguf.F16))
	h := DefaultHealing()
	h.OwnTokens = 2000
	c := &h.Run
	tiny := tinyConfig(t, gguf.F16)
	c.Model, c.Teacher, c.Output = quantizedOf(t, from), from, tiny.Output
	c.SeqLen, c.Steps, c.Threads, c.Rank, c.LR = 64, 30, 1, 8, config.Fixed(3e-3)
	r, err := Heal(t.Context(), h, report.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	if r.OwnTokens < h.OwnTokens || r.Tokens == 0 || !strings.Contains(r.Text, "held out") {
		t.Errorf("%d tokens written, measured on %d of %s", r.OwnTokens, r.Tokens, r.Text)
	}
	if b, a := r.Before(), r.After(); !(b.KL > 0 && a.KL < 0.9*b.KL) {
		t.Errorf("KL %g before, %g after; 99 %% %g and %g", b.KL, a.KL, b.KL99, a.KL99)
	}
	if r.ModelBytes >= r.FromBytes || r.AdapterBytes == 0 {
		t.Errorf("bytes: %d, adapter %d, better file %d", r.ModelBytes, r.AdapterBytes, r.FromBytes)
	}
	own := readFile(t, c.Output, ownText)
	c.Output, c.Steps = filepath.Join(t.TempDir(), "again"), 1
	if _, err := Heal(t.Context(), h, report.Silent{}); err != nil {
		t.Fatal(err)
	}
	if readFile(t, c.Output, ownText) != own {
		t.Error("the same seed gives another text")
	}
}
