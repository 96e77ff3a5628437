package merge

import (
	"bytes"
	"math"
	"path/filepath"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/quant"
)

// other writes an adapter of another kind than LoRA: vectors about 1, or magnitudes about those of the rows.
func other(t *testing.T, model string, kind adapter.Kind) string {
	t.Helper()
	m, err := engine.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a, err := adapter.New(m.Net(), adapter.Config{Kind: kind, Rank: 4, Alpha: 8, Init: "kaiming", Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	f := open(t, model)
	if kind == adapter.DoRA {
		err := a.Magnitudes(func(tensor string) ([]float32, error) {
			x, _, info := numbers(t, f, tensor)
			return norms(x, info.Shape[0]), nil
		}, true, func(int, int) {})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range a.Pairs {
		p := &a.Pairs[i]
		for j := range p.B {
			p.B[j] = float32((i*7+j*5)%11-5) / 20
		}
		for j := range p.More[0] {
			p.More[0][j] *= 1 + float32((i+j*3)%13-6)/10
		}
	}
	path := filepath.Join(t.TempDir(), "adapter.gguf")
	if err := a.Save(t.Context(), nil, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// norms are those of rows of n numbers.
func norms(x []float32, n int64) []float32 {
	out := make([]float32, int64(len(x))/n)
	for i := range out {
		sum := 0.0
		for _, v := range x[int64(i)*n:][:n] {
			sum += float64(v) * float64(v)
		}
		out[i] = float32(math.Sqrt(sum))
	}
	return out
}

// TestScales: (IA)³ changes nothing of a block but its scales, and multiplies biases exactly; where the type is
// another, or keeps no scale in f16, the tensor is quantized anew. llama.cpp computes the same from every result.
func TestScales(t *testing.T) {
	for _, tc := range []struct {
		typ             gguf.Type
		to              string
		scales, rounded int
	}{
		{gguf.Q8_0, "", 6, 0}, {gguf.Q4_K, "", 6, 0}, {gguf.Q5_1, "", 6, 0}, {gguf.IQ4_NL, "", 6, 0},
		{gguf.MXFP4, "", 0, 6}, {gguf.F16, "", 0, 0}, {gguf.Q8_0, "q5_0", 0, 14},
	} {
		t.Run(tc.typ.String()+" "+tc.to, func(t *testing.T) {
			model := synth.Temp(t, synth.Tiny("qwen2", tc.typ))
			cfg := Config{Model: model, Output: filepath.Join(t.TempDir(), "m.gguf"), Threads: 1, Report: words,
				Type: tc.to, Adapters: []Adapter{{other(t, model, adapter.IA3), 1}}}
			r, err := Merge(t.Context(), cfg, report.Silent{})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("KL %.2g, of the base %.2g", r.Report.Merged.KL, r.Report.Base.KL)
			if r.Scales != tc.scales || r.Rounded != tc.rounded || r.Merged != 6 ||
				tc.rounded == 0 && !(r.Report.Merged.KL < 1e-4) || !(r.Report.Base.KL > 0.01) {
				t.Errorf("%d of %d tensors by their scales, %d anew; KL %g, of the base %g", r.Scales, r.Merged,
					r.Rounded, r.Report.Merged.KL, r.Report.Base.KL)
			}
			if tc.rounded > 0 {
				return
			}
			checkScales(t, cfg)
		})
	}
}

// checkScales compares a model with (IA)³ merged into it with its base.
func checkScales(t *testing.T, cfg Config) {
	was, is := open(t, cfg.Model), open(t, cfg.Output)
	m, err := engine.Open(cfg.Model)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a, err := adapter.Load(cfg.Adapters[0].Path, m.Net())
	if err != nil {
		t.Fatal(err)
	}
	factors := map[string][]float32{}
	biases := 0
	for _, p := range a.Pairs {
		factors[p.Tensor] = p.More[0]
		bias := p.Tensor[:len(p.Tensor)-len("weight")] + "bias"
		if !was.HasTensor(bias) {
			continue
		}
		biases++
		x, _, _ := numbers(t, was, bias)
		y, _, _ := numbers(t, is, bias)
		for i := range y {
			if y[i] != x[i]*p.More[0][i] {
				t.Fatalf("%s: element %d is %g, want %g × %g", bias, i, y[i], x[i], p.More[0][i])
			}
		}
	}
	if biases == 0 {
		t.Error("the model has no bias to multiply")
	}
	for i := range was.Tensors {
		_, before, info := numbers(t, was, was.Tensors[i].Name)
		_, after, _ := numbers(t, is, info.Name)
		by := factors[info.Name]
		if by == nil || !info.Type.IsQuantized() {
			continue
		}
		want, size := bytes.Clone(before), len(before)/int(info.Shape[1])
		for o := range by {
			if err := quant.Multiply(info.Type, want[o*size:][:size], by[o]); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(after, want) {
			t.Errorf("%s: not the base's blocks with other scales", info.Name)
		}
	}
}

// TestMergeDoRA: every row of what is merged has the length that the adapter gives it, and the direction of the sum.
func TestMergeDoRA(t *testing.T) {
	model := synth.Temp(t, synth.Tiny("llama", gguf.F32))
	path := other(t, model, adapter.DoRA)
	cfg := Config{Model: model, Output: filepath.Join(t.TempDir(), "m.gguf"), Threads: 1, Report: words,
		Adapters: []Adapter{{path, 1}}}
	r, err := Merge(t.Context(), cfg, report.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	if !(r.Report.Merged.KL < 1e-6) || !(r.Report.Base.KL > 0.01) {
		t.Errorf("KL %g, of the base %g", r.Report.Merged.KL, r.Report.Base.KL)
	}
	m, err := engine.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a, err := adapter.Load(path, m.Net())
	if err != nil {
		t.Fatal(err)
	}
	was, is := open(t, model), open(t, cfg.Output)
	for _, p := range a.Pairs {
		x, _, info := numbers(t, was, p.Tensor)
		y, _, _ := numbers(t, is, p.Tensor)
		sum := expected(t, x, info, model, cfg.Adapters)
		lengths := norms(sum, info.Shape[0])
		for i, v := range sum {
			o := int64(i) / info.Shape[0]
			want := v / lengths[o] * p.More[0][o]
			if math.Abs(float64(y[i]-want)) > 1e-5*(1+math.Abs(float64(want))) {
				t.Fatalf("%s: element %d is %g, want %g", p.Tensor, i, y[i], want)
			}
		}
	}
	cfg.Adapters[0].Scale = 0.5
	if _, err := Merge(t.Context(), cfg, report.Silent{}); err == nil {
		t.Error("half of it is merged")
	}
}
