package merge

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/allot"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/quant"
)

// TestTypesOfRoles: a role's type is written, all other tensors keep theirs, and an importance matrix weighs what is
// quantized.
func TestTypesOfRoles(t *testing.T) {
	model := synth.Temp(t, synth.Tiny("llama", gguf.Q4_0))
	adapters := []Adapter{{lora(t, model, 1, nil, nil), 1}}
	base := open(t, model)
	var written [2]*gguf.File
	for k, importance := range []quant.Importance{nil, weights(t, base)} {
		out := filepath.Join(t.TempDir(), "merged.gguf")
		cfg := Config{Model: model, Adapters: adapters, Output: out, Report: words, Threads: 1, Rounding: "nearest",
			Types: map[string]gguf.Type{"attn_v": gguf.Q5_0}, Importance: importance}
		if _, err := Merge(t.Context(), cfg, report.Silent{}); err != nil {
			t.Fatal(err)
		}
		written[k] = open(t, out)
	}
	for i, info := range written[0].Tensors {
		want := base.Tensors[i].Type
		if info.Name == "blk.0.attn_v.weight" || info.Name == "blk.1.attn_v.weight" {
			want = gguf.Q5_0
		}
		if info.Type != want {
			t.Errorf("%s is %s, want %s", info.Name, info.Type, want)
		}
		_, plain, _ := numbers(t, written[0], info.Name)
		_, weighed, _ := numbers(t, written[1], info.Name)
		if quantized := len(info.Shape) > 1 && info.Name[:4] == "blk."; bytes.Equal(plain, weighed) == quantized {
			t.Errorf("%s: with an importance matrix the same bytes: %v, want %v", info.Name, !quantized, quantized)
		}
	}
}

// weights is an importance matrix of the layers in which the elements of a row differ.
func weights(t *testing.T, f *gguf.File) quant.Importance {
	t.Helper()
	out := quant.Importance{}
	for _, info := range f.Tensors {
		if len(info.Shape) < 2 || info.Name[:4] != "blk." {
			continue
		}
		w := make([]float32, info.Shape[0])
		for i := range w {
			w[i] = float32(1 + i%5*i%7)
		}
		out[info.Name] = w
	}
	return out
}

// TestBudget: types fit a size, and with more of it than the base has less of the adapter is lost than in its types.
func TestBudget(t *testing.T) {
	spec := synth.Tiny("llama", gguf.Q4_0)
	model := synth.Temp(t, spec)
	adapters := []Adapter{{lora(t, model, 1, nil, nil), 1}}
	last := 0.0
	for _, bits := range []float64{0, 5.5, 8} {
		cfg := Config{Model: model, Adapters: adapters, Output: filepath.Join(t.TempDir(), "merged.gguf"),
			Report: words, Threads: 1}
		if bits > 0 {
			cfg.Budget = &allot.Budget{Name: "some", BPW: bits}
		}
		r, err := Merge(t.Context(), cfg, report.Silent{})
		if err != nil {
			t.Fatal(err)
		}
		var elements int64
		f := open(t, cfg.Output)
		for _, info := range f.Tensors {
			elements += info.Elements()
		}
		// What adapters leave alone gets no larger type than it has: there is no use for all of 8 bits.
		if got := 8 * float64(r.After) / float64(elements); bits > 0 && (got > bits || got < min(0.9*bits, 7)) {
			t.Errorf("%g bits a weight wanted, %g written", bits, got)
		}
		if (r.ExpectedKL != nil) != (bits > 0) || bits > 0 && *r.Type != "some" {
			t.Errorf("%g bits: type %v, expected divergence %v", bits, r.Type, r.ExpectedKL)
		}
		if kl := r.Report.Merged.KL; bits > 0 && !(kl < last) {
			t.Errorf("%g bits: divergence %g, and %g with less room", bits, kl, last)
		}
		last = r.Report.Merged.KL
	}
}
