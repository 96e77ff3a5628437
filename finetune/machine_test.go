package finetune

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/config"
)

// TestMemoryDoesNotMatter: layers computed again give the numbers of layers kept, bit for bit, so that --memory may change
// over a resume.
func TestMemoryDoesNotMatter(t *testing.T) {
	want := map[string][]byte{}
	for i, keep := range []int64{0, 1 << 40} {
		c := tinyConfig(t, gguf.Q8_0)
		c.Data = []string{tinyData(t, 40)}
		r := begun(t, c, func(r *run) { r.plan.keep = keep })
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

// TestPlanMemory: what does not fit is refused before it is tried, with what would.
func TestPlanMemory(t *testing.T) {
	m, err := engine.Open(synth.Temp(t, synth.Tiny("llama", gguf.F32)))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := config.Default()
	c.Threads = 1
	r := &run{cfg: c, model: m}
	sc, err := r.sessionConfig()
	if err != nil {
		t.Fatal(err)
	}
	const tokens, rowLen = 4096, 512
	least, err := planMemory(m, sc, &c, tokens, tokens, rowLen, 0)
	if err != nil || least.keep != 0 {
		t.Fatalf("unknown memory: %+v, %v", least, err)
	}
	ample, err := planMemory(m, sc, &c, tokens, tokens, rowLen, 1<<40)
	if err != nil || ample.keep == 0 || ample.total <= least.total || ample.total > courtesy {
		t.Errorf("ample memory: %+v, %v; at least %+v", ample, err, least)
	}
	tight, err := planMemory(m, sc, &c, tokens, tokens, rowLen, least.total)
	if err != nil || tight.total > least.total {
		t.Errorf("just enough: %+v, %v", tight, err)
	}
	c.Memory = 1 << 20 // a terabyte: more than is free is never taken
	if asked, err := planMemory(m, sc, &c, tokens, tokens, rowLen, least.total); err != nil || asked.total > least.total {
		t.Errorf("more asked for than is free: %+v, %v", asked, err)
	}
	if _, err := planMemory(m, sc, &c, tokens, tokens, rowLen, least.total-1); err == nil || !strings.Contains(err.Error(), "free memory") {
		t.Errorf("more asked for than is free, and that too little: got %v", err)
	}
	c.Memory = 0
	for _, tc := range []struct {
		free int64
		want string
	}{{least.total - 1, "--batch 1 would fit (with --accum 4"}, {least.total / 8, "--batch 1 --seq-len "}, {1000, "a smaller --rank"}} {
		if _, err := planMemory(m, sc, &c, tokens, tokens, rowLen, tc.free); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%d bytes: got %v, want %q", tc.free, err, tc.want)
		}
	}
}

// TestCrowded: a model that does not stay in memory beside the run is told of.
func TestCrowded(t *testing.T) {
	for _, tc := range []struct {
		weights, total, free int64
		want                 bool
	}{{600e6, 400e6, 1e9, false}, {600e6, 400e6 + 1, 1e9, true}, {600e6, 400e6, 0, false}} {
		got := crowded("m.gguf", tc.weights, tc.total, tc.free)
		if (got != "") != tc.want || tc.want && (!strings.Contains(got, "m.gguf") || !strings.Contains(got, "600.0 MB")) {
			t.Errorf("%+v: got %q", tc, got)
		}
	}
}

// TestHeldOutRowsAreCounted: memory is planned for the held-out rows too, where they are longer.
func TestHeldOutRowsAreCounted(t *testing.T) {
	long := filepath.Join(t.TempDir(), "long.jsonl")
	if err := os.WriteFile(long, []byte(`{"prompt": "the number", "completion": " is even or odd or even or odd or even or odd or even"}`+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	c := tinyConfig(t, gguf.F32)
	c.EvalSplit, c.EvalData, c.Packing, c.Batch = 0, []string{long}, "none", 4
	r := begun(t, c, func(*run) {})
	train, _ := r.rows.TrainRows.Longest()
	held, _ := r.rows.HeldRows.Longest()
	if tokens, _, n := r.rows.Largest(); train >= held || tokens != held || n != 4 {
		t.Errorf("got %d rows of %d tokens, want 4 of %d (training rows: %d)", n, tokens, held, train)
	}
}

// TestCgroupMemory reads the limits of containers.
func TestCgroupMemory(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, ok := cgroupMemory(dir); ok {
		t.Error("a limit where there are no files")
	}
	write("memory.max", "max\n")
	write("memory.current", "700\n")
	if _, _, ok := cgroupMemory(dir); ok {
		t.Error("a limit of max")
	}
	write("memory.max", "1000\n")
	write("memory.stat", "anon 300\ninactive_file 250\nactive_file 150\n")
	if limit, used, ok := cgroupMemory(dir); !ok || limit != 1000 || used != 450 {
		t.Errorf("got %d of %d, %v, want 450 of 1000", used, limit, ok)
	}
}
