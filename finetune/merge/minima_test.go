package merge

import (
	"bytes"
	"math"
	"path/filepath"
	"testing"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/quant"
)

// blocks makes an adapter's A the same over each block of inputs.
func blocks(a *adapter.Adapter) {
	for i := range a.Pairs {
		for at := range a.Pairs[i].A {
			a.Pairs[i].A[at] = a.Pairs[i].A[at/quant.MinimumBlock*quant.MinimumBlock]
		}
	}
}

// TestMinima: such an adapter changes nothing of a block but its minimum, and each weight is the exact sum but for the
// minimum's rounding to f16: half a unit in the last of 11 bits, or of the smallest numbers of f16.
func TestMinima(t *testing.T) {
	for _, typ := range []gguf.Type{gguf.Q4_1, gguf.Q5_1} {
		model := synth.Temp(t, synth.Tiny("llama", typ))
		cfg := Config{Model: model, Output: filepath.Join(t.TempDir(), "m.gguf"), Threads: 1, Report: words,
			Adapters: []Adapter{{lora(t, model, 1, nil, blocks), 1}, {lora(t, model, 2, []string{"attn_k"}, blocks),
				0.5}}}
		r, err := Merge(t.Context(), cfg, report.Silent{})
		if err != nil {
			t.Fatal(err)
		}
		if r.Minima != 14 || r.Rounded != 0 || !(r.Report.Merged.KL < 1e-4) || !(r.Report.Base.KL > 0.01) {
			t.Errorf("%s: %d tensors by their minima, %d anew; KL %g, of the base %g", typ, r.Minima, r.Rounded,
				r.Report.Merged.KL, r.Report.Base.KL)
		}
		t.Logf("%s: KL %.2g, of the base %.2g; rounding %.2g", typ, r.Report.Merged.KL, r.Report.Base.KL, r.Rounding)
		was, is := open(t, model), open(t, cfg.Output)
		for i := range was.Tensors {
			x, before, info := numbers(t, was, was.Tensors[i].Name)
			y, after, _ := numbers(t, is, info.Name)
			if info.Type != typ {
				continue
			}
			minima, err := quant.Minima(typ, after)
			if err != nil {
				t.Fatal(err)
			}
			kept := bytes.Clone(after)
			if old, err := quant.Minima(typ, before); err != nil || quant.SetMinima(typ, kept, old) != nil ||
				!bytes.Equal(kept, before) {
				t.Errorf("%s: more than minima changed (%v)", info.Name, err)
			}
			for k, want := range expected(t, x, info, model, cfg.Adapters) {
				m := math.Abs(float64(minima[k/quant.MinimumBlock]))
				f32 := 1e-6 * (m + math.Abs(float64(x[k]))) // of sums in another order
				if d := math.Abs(float64(y[k]) - float64(want)); d > m/(1<<11)+1./(1<<25)+f32 {
					t.Fatalf("%s %s: element %d is %g, want %g within the rounding of its minimum "+
						"%g", typ, info.Name, k,
						y[k], want, m)
				}
			}
		}
	}
}

// TestMinimaOnly: with another type, from another file, or beside an adapter that is free, all is quantized anew.
func TestMinimaOnly(t *testing.T) {
	full := synth.Temp(t, synth.Tiny("llama", gguf.F32))
	model := quantized(t, full, "q4_1")
	tied, free := lora(t, model, 1, []string{"attn_q"}, blocks), lora(t, model, 2, []string{"attn_q"}, nil)
	for name, change := range map[string]func(*Config){
		"another type": func(c *Config) { c.Type = "q8_0" },
		"a free one":   func(c *Config) { c.Adapters = append(c.Adapters, Adapter{free, 1}) },
		"from":         func(c *Config) { c.From = full },
	} {
		cfg := Config{Model: model, Output: filepath.Join(t.TempDir(), "m.gguf"), Threads: 1, Report: words,
			Adapters: []Adapter{{tied, 1}}}
		change(&cfg)
		r, err := Merge(t.Context(), cfg, report.Silent{})
		if err != nil {
			t.Fatal(err)
		}
		if r.Minima != 0 || r.Rounded == 0 {
			t.Errorf("%s: %d tensors by their minima, %d anew", name, r.Minima, r.Rounded)
		}
	}
}
