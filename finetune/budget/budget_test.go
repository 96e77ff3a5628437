package budget

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
)

// TestPlanMemory: what does not fit is refused before it is tried, with what would.
func TestPlanMemory(t *testing.T) {
	m, err := engine.Open(synth.Temp(t, synth.Tiny("llama", gguf.F32)))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := config.Default()
	c.Threads, c.Accum = 1, config.Fixed(4)
	sc, err := c.Session(m)
	if err != nil {
		t.Fatal(err)
	}
	shape := Shape{Row: 512, Counted: 512, Rows: 8}
	least, err := PlanMemory(m, sc, &c, shape, withoutSamples, llama.Memory{}, 0)
	if err != nil || least.Keep != 0 {
		t.Fatalf("unknown memory: %+v, %v", least, err)
	}
	ample, err := PlanMemory(m, sc, &c, shape, withoutSamples, llama.Memory{}, 1<<40)
	if err != nil || ample.Keep == 0 || ample.Total <= least.Total || ample.Total > courtesy {
		t.Errorf("ample memory: %+v, %v; at least %+v", ample, err, least)
	}
	tight, err := PlanMemory(m, sc, &c, shape, withoutSamples, llama.Memory{}, least.Total)
	if err != nil || tight.Total > least.Total {
		t.Errorf("just enough: %+v, %v", tight, err)
	}
	c.Memory = 1 << 20 // a terabyte: more than is free is never taken
	if asked, err := PlanMemory(m, sc, &c, shape, withoutSamples, llama.Memory{}, least.Total); err != nil ||
		asked.Total > least.Total {
		t.Errorf("more asked for than is free: %+v, %v", asked, err)
	}
	if _, err := PlanMemory(m, sc, &c, shape, withoutSamples, llama.Memory{}, least.Total-1); err == nil ||
		!strings.Contains(err.Error(), "free memory") {
		t.Errorf("more asked for than is free, and that too little: got %v", err)
	}
	const beside = 1 << 20
	samples := func(trained int64) int64 { return beside }
	if both, err := PlanMemory(m, sc, &c, shape, samples, llama.Memory{}, least.Total+beside); err != nil ||
		both.Samples != beside ||
		both.Total > least.Total+beside {
		t.Errorf("room for answers too: %+v, %v", both, err)
	}
	if alone, err := PlanMemory(m, sc, &c, shape, samples, llama.Memory{}, least.Total+beside-1); err != nil ||
		alone.Samples != 0 || alone.Total < least.Total {
		t.Errorf("no room for answers: %+v, %v", alone, err)
	}
	writes := llama.Memory{Repacked: 3 << 20, KV: 2 << 20}
	c.Memory = 0
	all, err := PlanMemory(m, sc, &c, shape, withoutSamples, writes, 0)
	if err != nil || all.Rollouts < writes.Total() || all.Total != least.Total+all.Rollouts {
		t.Errorf("with answers to learn from: %+v, %v; without %+v", all, err, least)
	}
	for _, tc := range []struct {
		free int64
		want string
	}{{least.Total - 1, "--batch 1 would fit (with --accum 4"}, {least.Total / 8, "--batch 1 --seq-len "},
		{1000, "a smaller --rank"}} {
		if _, err := PlanMemory(m, sc, &c, shape, withoutSamples, llama.Memory{}, tc.free); err == nil ||
			!strings.Contains(err.Error(), tc.want) {
			t.Errorf("%d bytes: got %v, want %q", tc.free, err, tc.want)
		}
	}
}

// TestFittingOfRollouts: a smaller micro-batch is advised without --accum, which follows from it where the model learns
// from its own answers.
func TestFittingOfRollouts(t *testing.T) {
	m, err := engine.Open(synth.Temp(t, synth.Tiny("llama", gguf.F32)))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := config.Default()
	c.Threads = 1
	c.Method, c.Reward = "grpo", []string{"length=10"}
	sc, err := c.Session(m)
	if err != nil {
		t.Fatal(err)
	}
	shape := Shape{Row: 128, Counted: 64, Rows: 8}
	least, err := PlanMemory(m, sc, &c, shape, withoutSamples, llama.Memory{KV: 1 << 20}, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = PlanMemory(m, sc, &c, shape, withoutSamples, llama.Memory{KV: 1 << 20}, least.Total-1)
	if err == nil || !strings.Contains(err.Error(), "--batch 1 would fit (it learns the same)") {
		t.Errorf("got %v", err)
	}
}

// TestCrowded: a model that does not stay in memory beside the run is told of.
func TestCrowded(t *testing.T) {
	for _, tc := range []struct {
		weights, total, free int64
		want                 bool
	}{{600e6, 400e6, 1e9, false}, {600e6, 400e6 + 1, 1e9, true}, {600e6, 400e6, 0, false}} {
		got := Crowded("m.gguf", tc.weights, tc.total, tc.free)
		if (got != "") != tc.want ||
			tc.want && (!strings.Contains(got, "m.gguf") || !strings.Contains(got, "600.0 MB")) {
			t.Errorf("%+v: got %q", tc, got)
		}
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

// pairConfig trains a tiny model on pairs.
func pairConfig(t *testing.T, how string) config.Config {
	t.Helper()
	var b strings.Builder
	for i := range 40 {
		fmt.Fprintf(&b, `{"prompt": "the number %d is", "chosen": " even", "rejected": " odd"}`+"\n", i)
	}
	path := filepath.Join(t.TempDir(), "pairs.jsonl")
	if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.Model, c.Data, c.Method = synth.Temp(t, synth.Tiny("llama", gguf.F32)), []string{path}, how
	c.SeqLen, c.Packing, c.Accum, c.Threads, c.EvalSplit, c.Rank = 64, "sequential", config.Fixed(2), 1,
		config.Fixed(0.2), 4
	return c
}

func rowsOf(t *testing.T, c *config.Config) *corpus.Rows {
	t.Helper()
	m, err := engine.Open(c.Model)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	how, err := c.Loss()
	if err != nil {
		t.Fatal(err)
	}
	text, err := corpus.Open(c, m, how)
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	rows, err := text.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestPlanOfReference: the time of a run includes its reference pass, over the rows that the run reaches and those
// held out.
func TestPlanOfReference(t *testing.T) {
	for _, tc := range []struct {
		name, method string
		steps        int
		rows         int // of the training rows, that the reference is run over
	}{{"all rows", "dpo", 40, 15}, {"a few steps", "dpo", 3, 6}, {"two forward passes a step", "kto", 3, 6},
		{"no reference", "orpo", 3, 0}} {
		t.Run(tc.name, func(t *testing.T) {
			c := pairConfig(t, tc.method)
			c.Steps = tc.steps
			f, err := NewForecast(t.Context(), c, true)
			if err != nil {
				t.Fatal(err)
			}
			training := float64(*f.RunTokens) / *f.TokPerS
			if tc.rows == 0 {
				if f.ReferenceSeconds != nil || math.Abs(*f.Seconds-*f.EvalSeconds-training) > 1e-9 {
					t.Errorf("got %g s, of it %v for the reference, want %g and %g", *f.Seconds, f.ReferenceSeconds,
						training,
						*f.EvalSeconds)
				}
				return
			}
			if f.ReferenceSeconds == nil || *f.ReferenceSeconds <= 0 ||
				math.Abs(*f.Seconds-*f.ReferenceSeconds-*f.EvalSeconds-training) > 1e-9 {
				t.Fatalf("got %g s, of it %v for the reference, want %g and %g beside it", *f.Seconds,
					f.ReferenceSeconds,
					training, *f.EvalSeconds)
			}
			rows := rowsOf(t, &c)
			train, held := rows.Train.Counts, rows.Held.Counts
			want := float64(train.Tokens)*float64(tc.rows)/float64(train.Rows) + float64(held.Tokens)
			if got := *f.ReferenceSeconds * f.pace.forward; math.Abs(got-want) > 1e-6 {
				t.Errorf("the reference reads %g tokens, want %g", got, want)
			}
		})
	}
}

// TestPlanOfGenerating: what llama.cpp takes to generate counts its repacked copy of the weights.
func TestPlanOfGenerating(t *testing.T) {
	s := synth.Tiny("llama", gguf.Q4_0)
	s.Embd, s.FF, s.Ctx = 512, 2048, 1024
	c := config.Default()
	c.Model, c.Threads = synth.Temp(t, s), 1
	f, err := NewForecast(t.Context(), c, false)
	if err != nil {
		t.Fatal(err)
	}
	has, err := llama.Features()
	if err != nil {
		t.Fatal(err)
	}
	// 2 layers of q and output 512×512, k and v 512×256, three matrices 512×2048, and 320 rows of logits, at 4.5 bits
	const copied = (2*(2*512*512+2*512*256+3*512*2048) + 320*512) * 18 / 32
	want := int64(copied >> 20 << 20) // the Go module's llama.cpp says whole MiB
	if _, system, err := llama.System(); err != nil {
		t.Fatal(err)
	} else if system && f.RepackedBytes != want { // and so may an installed one, or say bytes
		want = copied
	}
	if has[llama.Repack] && f.RepackedBytes != want ||
		!has[llama.Repack] && f.RepackedBytes != 0 {
		t.Errorf("%d bytes of repacked weights, want %d with %v", f.RepackedBytes, want, has)
	}
	if f.GenerateBytes <= f.RepackedBytes {
		t.Errorf("%d bytes to generate, of it %d repacked weights", f.GenerateBytes, f.RepackedBytes)
	}
}

// TestPlanOfMeasuring: the time of a run includes its measurements: of the held-out rows before, between and after its
// steps, of the general text once.
func TestPlanOfMeasuring(t *testing.T) {
	for _, tc := range []struct {
		steps, every, times int
	}{{6, 0, 2}, {6, 2, 4}, {7, 2, 5}, {7, 10, 2}} {
		c := pairConfig(t, "orpo")
		c.EvalSplit, c.EvalEvery, c.Steps = config.Fixed(0.2), config.Fixed(tc.every), tc.steps
		f, err := NewForecast(t.Context(), c, true)
		if err != nil {
			t.Fatal(err)
		}
		rows := rowsOf(t, &c)
		if err := rows.Bound(); err != nil {
			t.Fatal(err)
		}
		if got := rows.Evaluations(); got != tc.times {
			t.Errorf("%d steps, measured every %d: %d times, want %d", tc.steps, tc.every, got, tc.times)
		}
		general := *f.EvalSeconds*f.pace.forward - float64(tc.times*rows.Held.Counts.Tokens)
		if !(general > 4*1000) { // four readings of a page
			t.Errorf("%g tokens of general text", general)
		}
	}
}

// TestPlanMemoryOfStart: a start that follows from weights needs its memory, though nothing else is taken then.
func TestPlanMemoryOfStart(t *testing.T) {
	spec := synth.Tiny("llama", gguf.F32)
	m, err := engine.Open(synth.Temp(t, spec))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := config.Default()
	c.Model, c.Threads, c.Rank, c.Init = m.Path(), 1, 2, "pissa"
	c.Targets, c.Layers = []string{"ffn_down"}, "1"
	sc, err := c.Session(m)
	if err != nil {
		t.Fatal(err)
	}
	shape := Shape{Row: 2, Counted: 1, Rows: 1} // so that the start takes more than the training
	free, err := PlanMemory(m, sc, &c, shape, withoutSamples, llama.Memory{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	largest := int64(8 * spec.Embd * spec.FF) // the matrix alone, in f64
	if free.Start <= largest || free.Start > 20*largest {
		t.Errorf("the start takes %d bytes, the largest matrix %d", free.Start, largest)
	}
	if free.Total >= free.Start {
		t.Fatalf("the training takes %d bytes, more than the start: it cannot be what is refused", free.Total)
	}
	_, err = PlanMemory(m, sc, &c, shape, withoutSamples, llama.Memory{}, free.Start-1)
	if err == nil || !strings.Contains(err.Error(), "--init pissa works out how the adapter") {
		t.Errorf("got error %v, want one that names the start", err)
	}
}
