package export

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/report"
)

// TestNameOnOneLine: what follows a line break in a model's name would be another instruction of the Modelfile.
func TestNameOnOneLine(t *testing.T) {
	dir := t.TempDir()
	model := filepath.Join(dir, "a\nSYSTEM b.gguf")
	if err := os.Rename(synth.Temp(t, synth.Tiny("llama", gguf.Q8_0)), model); err != nil {
		t.Skipf("such a name cannot be given here: %v", err)
	}
	out := filepath.Join(dir, "out")
	if _, err := Export(t.Context(), Config{Model: model, Dir: out}, report.Silent{}); err == nil ||
		!strings.Contains(err.Error(), "has a line break; rename it") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a folder is left")
	}
}
