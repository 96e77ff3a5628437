package run

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/config"
)

// TestMemoryDoesNotMatter: layers computed again give the numbers of layers kept, bit for bit, so that --memory may
// change over a resume.
func TestMemoryDoesNotMatter(t *testing.T) {
	want := map[string][]byte{}
	for i, keep := range []int64{0, 1 << 40} {
		c := tinyConfig(t, gguf.Q8_0)
		c.Data = []string{tinyData(t, 40)}
		r := begun(t, c, func(r *run) { r.start.KeepBytes = keep })
		if err := r.train(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, x := range r.tensors(false) {
			got := make([]byte, 4*x.N)
			if err := x.Memory.Read(got, 0); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				want[x.Name] = got
			} else if !bytes.Equal(got, want[x.Name]) {
				t.Errorf("%s differs", x.Name)
			}
		}
	}
}

// TestHeldOutRowsAreCounted: memory is planned for the held-out rows too, where they are longer.
func TestHeldOutRowsAreCounted(t *testing.T) {
	long := filepath.Join(t.TempDir(), "long.jsonl")
	if err := os.WriteFile(long, []byte(`{"prompt": "the number", "completion": " is even or odd or even or odd or `+
		`even or odd or even"}`+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	c := tinyConfig(t, gguf.F32)
	c.EvalSplit, c.EvalData, c.Packing, c.Batch = config.Fixed(0.0), []string{long}, "none", 4
	r := begun(t, c, func(*run) {})
	train, _ := r.rows.TrainRows.Longest()
	held, _ := r.rows.HeldRows.Longest()
	if tokens, _, n := r.rows.Largest(); train >= held || tokens != held || n != 4 {
		t.Errorf("got %d rows of %d tokens, want 4 of %d (training rows: %d)", n, tokens, held, train)
	}
}
