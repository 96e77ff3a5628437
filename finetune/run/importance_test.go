package run

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/quant"
	"github.com/ggtune/ggtune/quant/mix"
)

// However the text is cut into batches, every matrix of the layers gets the same weights, counted at every token, and
// the quantizer takes them.
func TestImportance(t *testing.T) {
	spec := synth.Tiny("llama", gguf.F32)
	path := synth.Temp(t, spec)
	text := filepath.Join(t.TempDir(), "text.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("The king had a hat, and a horse.\n", 40)), 0o666); err != nil {
		t.Fatal(err)
	}
	var first map[string][]float32
	for _, batch := range []int{1, 4} {
		cfg := config.Default()
		cfg.Model, cfg.Data, cfg.Batch, cfg.Threads = path, []string{text}, batch, 1
		cfg.Exact, cfg.SeqLen = true, 32
		m, e, err := Importance(context.Background(), cfg, report.Silent{})
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Entries) != 7*spec.Layers || len(m.Datasets) != 1 || m.Datasets[0] != "text.txt" {
			t.Errorf("got %d entries, of %q, want 7 a layer, of text.txt", len(m.Entries), m.Datasets)
		}
		for _, entry := range m.Entries {
			if entry.Counts[0] != float32(e.Tokens) || e.Tokens < 100 {
				t.Errorf("%s: counted %v vectors, want one for each of %d tokens", entry.Tensor, entry.Counts, e.Tokens)
			}
		}
		w := m.Weights()
		if first == nil {
			first = w
		}
		for name, x := range w {
			for i := range x {
				if d := math.Abs(float64(x[i]/first[name][i]) - 1); !(d < 1e-4) {
					t.Fatalf("%s: element %d weighs %v in batches of %d, and %v in those of 1", name, i, x[i], batch,
						first[name][i])
				}
			}
		}
		f, err := gguf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		p, err := quant.NewPlan(f, quant.Choice{Mix: mix.Q80, Importance: w})
		if err != nil || len(p.Unweighted) != 2 {
			t.Errorf("got %v without weights, %v, want token_embd and output", p.Unweighted, err)
		}
	}
}
