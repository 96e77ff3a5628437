package merge

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/quant"
)

// TestRounding: all, or nothing, is on its old grid, as is asked; a large change is quantized anew. What is written
// does not depend on threads.
func TestRounding(t *testing.T) {
	model := quantized(t, synth.Temp(t, synth.Tiny("llama", gguf.F32)), "q8_0")
	weak := lora(t, model, 1, nil, func(a *adapter.Adapter) { a.Alpha /= 100 })
	strong := lora(t, model, 1, nil, nil)
	merged := func(rounding, adapter string, threads int) (Result, []byte) {
		t.Helper()
		cfg := Config{Model: model, Output: filepath.Join(t.TempDir(), "m.gguf"), Threads: threads, Report: words,
			Rounding: rounding, Adapters: []Adapter{{adapter, 1}}}
		r, err := Merge(t.Context(), cfg, report.Silent{})
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(cfg.Output)
		if err != nil {
			t.Fatal(err)
		}
		return r, text
	}
	nearest, _ := merged("nearest", weak, 1)
	random, text := merged("random", weak, 1)
	if nearest.Nudged != 0 || random.Nudged != 1 || nearest.Rounded != random.Rounded {
		t.Errorf("on their grids: nearest %g, random %g; rounded %d and %d", nearest.Nudged, random.Nudged,
			nearest.Rounded, random.Rounded)
	}
	if _, again := merged("random", weak, 2); !bytes.Equal(text, again) {
		t.Error("other bytes with other threads")
	}
	if auto, _ := merged("", strong, 1); auto.Nudged > 0.1 {
		t.Errorf("a large change: %g on their grids", auto.Nudged)
	}
}

// TestRoundingKeepsChange: on the grid as much of a small change stays as there was, up to chance; quantized anew next
// to nothing does.
func TestRoundingKeepsChange(t *testing.T) {
	for typ, times := range map[gguf.Type]float64{gguf.Q8_0: 1. / 1000, gguf.Q4_0: 1. / 100, gguf.Q5_1: 1. / 200} {
		model := quantized(t, synth.Temp(t, synth.Tiny("llama", gguf.F32)), typ.String())
		cfg := Config{Model: model, Threads: 1, Report: words, Adapters: []Adapter{{lora(t, model, 1, nil,
			func(a *adapter.Adapter) { a.Alpha *= times }), 1}}}
		for rounding, least := range map[string]float64{"nearest": -0.1, "random": 0.7} {
			cfg.Rounding, cfg.Output = rounding, filepath.Join(t.TempDir(), "m.gguf")
			if _, err := Merge(t.Context(), cfg, report.Silent{}); err != nil {
				t.Fatal(err)
			}
			was, is := open(t, model), open(t, cfg.Output)
			var along, square float64
			for i := range was.Tensors {
				x, _, info := numbers(t, was, was.Tensors[i].Name)
				if info.Type != typ {
					continue
				}
				y, _, _ := numbers(t, is, info.Name)
				for k, want := range expected(t, x, info, model, cfg.Adapters) {
					d := float64(want) - float64(x[k])
					along += d * (float64(y[k]) - float64(x[k]))
					square += d * d
				}
			}
			if s := along / square; s < least || s > least+0.6 {
				t.Errorf("%s, %s: %.3f of the change stays", typ, rounding, s)
			}
		}
	}
}

// TestRoundingRefuses: types without an even grid cannot be rounded at random on it.
func TestRoundingRefuses(t *testing.T) {
	model := synth.Temp(t, synth.Tiny("llama", gguf.IQ4_NL))
	cfg := Config{Model: model, Output: filepath.Join(t.TempDir(), "m.gguf"), Rounding: "random",
		Adapters: []Adapter{{lora(t, model, 1, nil, nil), 1}}}
	if _, err := Merge(t.Context(), cfg, report.Silent{}); err == nil ||
		!strings.Contains(err.Error(), "no even grid") {
		t.Errorf("got %v", err)
	}
	if got := Roundings(); !slices.Equal(got, []string{"auto", "nearest", "random"}) || quant.HasGrid(gguf.IQ4_NL) {
		t.Errorf("%v", got)
	}
}

// along makes the pairs of the first layer read the direction that its inputs have at the commonest token of a text.
func along(t *testing.T, model, text string) func(*adapter.Adapter) {
	t.Helper()
	m := &merging{Config: Config{Model: model, Report: text, Adapters: []Adapter{{lora(t, model, 1, nil, nil), 1}}},
		rep: report.Silent{}}
	if err := m.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer m.close()
	read, err := m.text(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	count, token := map[int32]int{}, int32(0)
	for _, id := range read.items[0].Tokens {
		if count[id]++; count[id] > count[token] {
			token = id
		}
	}
	f := open(t, model)
	table, _, info := numbers(t, f, "token_embd.weight")
	norm, _, _ := numbers(t, f, "blk.0.attn_norm.weight")
	n := int(info.Shape[0])
	return func(a *adapter.Adapter) {
		for i := range a.Pairs {
			for k := range a.Pairs[i].A {
				a.Pairs[i].A[k] = table[int(token)*n+k%n] * norm[k%n]
			}
		}
	}
}

// TestRoundingPicks: of what is rounded by chance and what is rounded to the nearest the one is kept that predicts more
// like base and adapter: by chance where a small change lies along the inputs, to the nearest where it does not.
// Nothing else is left behind.
func TestRoundingPicks(t *testing.T) {
	model := quantized(t, synth.Temp(t, synth.Tiny("llama", gguf.F32)), "q4_0")
	picks := func(change func(*adapter.Adapter), targets []string, text string) (kl map[string]float64,
		nudged float64) {
		a := lora(t, model, 1, targets, change)
		kl = map[string]float64{}
		for _, rounding := range []string{"nearest", "random", "auto"} {
			dir := t.TempDir()
			cfg := Config{Model: model, Output: filepath.Join(dir, "m.gguf"), Threads: 1, Report: text,
				Rounding: rounding, Adapters: []Adapter{{a, 1}}}
			r, err := Merge(t.Context(), cfg, report.Silent{})
			if err != nil {
				t.Fatal(err)
			}
			kl[rounding], nudged = r.Report.Merged.KL, r.Nudged
			if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
				t.Errorf("%s: %d files are there, %v", rounding, len(left), err)
			}
		}
		t.Logf("KL %v", kl)
		return kl, nudged
	}
	if kl, nudged := picks(func(a *adapter.Adapter) { a.Alpha /= 30 }, nil, words); nudged != 0 ||
		kl["auto"] != kl["nearest"] || !(kl["random"] > kl["nearest"]) {
		t.Errorf("a change across the inputs: %g on their grids, KL %v", nudged, kl)
	}
	same := strings.Repeat("a ", 60)
	if kl, nudged := picks(func(a *adapter.Adapter) {
		along(t, model, same)(a)
		a.Alpha /= 16
	}, []string{"attn_v"}, same); nudged != 1 || kl["auto"] != kl["random"] || !(kl["random"] < kl["nearest"]/2) {
		t.Errorf("a change along the inputs: %g on their grids, KL %v", nudged, kl)
	}
}
