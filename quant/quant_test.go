package quant

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/quant/mix"
)

// source writes a small model: a matrix of whole blocks, one with rows that are not, and a norm.
func source(t *testing.T, edit func(name string, x []float32)) *gguf.File {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	var w gguf.Writer
	w.SetString("general.architecture", "llama")
	w.SetString("tokenizer.ggml.model", "gpt2")
	for _, tensor := range []struct {
		name  string
		shape []int64
	}{{"blk.0.attn_q.weight", []int64{64, 48}}, {"blk.0.ffn_down.weight", []int64{44, 64}}, {"output_norm.weight",
		[]int64{64}}} {
		n := int64(1)
		for _, d := range tensor.shape {
			n *= d
		}
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		if edit != nil {
			edit(tensor.name, x)
		}
		if err := w.AddFloats(tensor.name, tensor.shape, x); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := w.WriteFile(context.Background(), nil, path); err != nil {
		t.Fatal(err)
	}
	return open(t, path)
}

func open(t *testing.T, path string) *gguf.File {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func floats(t *testing.T, f *gguf.File, name string) []float32 {
	t.Helper()
	info, err := f.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := f.Data(info)
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, info.Elements())
	if err := ggml.DequantizeTo(ggml.Type(info.Type), x, data); err != nil {
		t.Fatal(err)
	}
	return x
}

func write(t *testing.T, f *gguf.File, m mix.Mix) *gguf.File {
	t.Helper()
	p, err := NewPlan(f, Choice{Mix: m})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "out.gguf")
	if _, err := Write(context.Background(), p, FileRows(f), path, Output{}); err != nil {
		t.Fatal(err)
	}
	return open(t, path)
}

func TestWrite(t *testing.T) {
	src := source(t, nil)
	for _, tc := range []struct {
		mix        mix.Mix
		attn, down gguf.Type
		// Half a step of the type at the largest weight, 4.64: f16 2⁻⁹, bf16 2⁻⁶, q8_0 4.64/127/2.
		tolerance float64
	}{
		{mix.F32, gguf.F32, gguf.F32, 0},
		{mix.F16, gguf.F16, gguf.F16, 0.00196},
		{mix.BF16, gguf.BF16, gguf.BF16, 0.0157},
		{mix.Q80, gguf.Q8_0, gguf.F16, 0.0184},
	} {
		t.Run(tc.mix.Name, func(t *testing.T) {
			out := write(t, src, tc.mix)
			for name, want := range map[string]gguf.Type{"blk.0.attn_q.weight": tc.attn,
				"blk.0.ffn_down.weight": tc.down,
				"output_norm.weight":    gguf.F32} {
				info, err := out.Tensor(name)
				if err != nil {
					t.Fatal(err)
				}
				if info.Type != want {
					t.Errorf("%s: got type %s, want %s", name, info.Type, want)
				}
				x, y := floats(t, src, name), floats(t, out, name)
				for i := range x {
					if d := math.Abs(float64(x[i] - y[i])); d > tc.tolerance {
						t.Fatalf("%s[%d]: got %v, want %v within %v", name, i, y[i], x[i], tc.tolerance)
					}
				}
			}
			if got, err := out.Uint32("general.file_type"); err != nil || got != tc.mix.FileType {
				t.Errorf("general.file_type: got %d, %v, want %d", got, err, tc.mix.FileType)
			}
			if got, err := out.String("tokenizer.ggml.model"); err != nil || got != "gpt2" {
				t.Errorf("metadata: got %q, %v, want it carried over", got, err)
			}
		})
	}
}

func TestPlanCountsBytesAndFallbacks(t *testing.T) {
	p, err := NewPlan(source(t, nil), Choice{Mix: mix.Q80})
	if err != nil {
		t.Fatal(err)
	}
	before, after := p.Bytes()
	wantBefore, wantAfter := int64(4*(64*48+44*64+64)), int64(64*48/32*34+44*64*2+64*4)
	if before != wantBefore || after != wantAfter {
		t.Errorf("got %d and %d bytes, want %d and %d", before, after, wantBefore, wantAfter)
	}
	for _, c := range p.Changes {
		if want := c.Tensor.Name == "blk.0.ffn_down.weight"; c.Fallback != want {
			t.Errorf("%s: got fallback %v, want %v", c.Tensor.Name, c.Fallback, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	quantized := write(t, source(t, nil), mix.Q80)
	if _, err := NewPlan(quantized, Choice{Mix: mix.F16}); err == nil || !strings.Contains(err.Error(),
		`tensor "blk.0.attn_q.weight" is storage type q8_0, quantized already; start from`) {
		t.Errorf("a quantized model: got %v", err)
	}

	src := source(t, nil)
	p, err := NewPlan(src, Choice{Mix: mix.F16})
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link.gguf")
	if err := os.Link(src.Path(), link); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(src.Path())
	if err != nil {
		t.Fatal(err)
	}
	_, err = Write(context.Background(), p, FileRows(src), link, Output{})
	if err == nil || !strings.Contains(err.Error(), "it is a file that is being read") {
		t.Errorf("over its own source: got %v", err)
	}
	if after, err := os.ReadFile(src.Path()); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the source changed (%v)", err)
	}
}

func TestNumbersThatDoNotFit(t *testing.T) {
	for _, tc := range []struct {
		name  string
		value float32
		mix   mix.Mix
		want  string
	}{
		{"nan", float32(math.NaN()), mix.Q80, `element 5 is NaN`},
		{"infinity", float32(math.Inf(1)), mix.Q80, `element 5 is +Inf`},
		{"too large for f16", 70000, mix.F16, "element 5 is 70000, beyond f16's 65504; use bf16"},
		{"not too large for bf16", 70000, mix.BF16, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			src := source(t, func(name string, x []float32) {
				if name == "blk.0.attn_q.weight" {
					x[5] = tc.value
				}
			})
			p, err := NewPlan(src, Choice{Mix: tc.mix})
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "out.gguf")
			_, err = Write(context.Background(), p, FileRows(src), path, Output{})
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
			if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
				t.Errorf("%d files left behind, want none", len(left))
			}
		})
	}
}

// What is chosen by role takes the place of the mix's choice; a role that the model lacks, or a type that nothing is
// written in, is refused.
func TestTypesByRole(t *testing.T) {
	src := source(t, nil)
	types := map[string]gguf.Type{"attn_q": gguf.Q8_0, "ffn_down": gguf.Q6_K}
	p, err := NewPlan(src, Choice{Mix: mix.F16, Types: types})
	if err != nil {
		t.Fatal(err)
	}
	// Rows of 44 elements are no whole blocks of anything.
	if q, d := p.Changes[0], p.Changes[1]; q.To != gguf.Q8_0 || q.Fallback || d.To != gguf.F16 || !d.Fallback {
		t.Errorf("got %v (in its place: %v) and %v (%v), want q8_0 and f16 in place of q6_K", q.To, q.Fallback, d.To,
			d.Fallback)
	}
	_, err = NewPlan(src, Choice{Mix: mix.F16, Types: map[string]gguf.Type{"attn_w": gguf.Q8_0, "attn_q": gguf.Q8_K}})
	for _, want := range []string{`unknown tensor role "attn_w"; nearest: "attn_q"; known: attn_q, ffn_down`,
		`tensor role attn_q: unknown storage type to write "q8_K"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// An importance matrix of another model is refused, and so is a type that needs one where there is none.
func TestImportance(t *testing.T) {
	var w gguf.Writer
	w.SetString("general.architecture", "llama")
	for _, name := range []string{"token_embd.weight", "blk.0.attn_q.weight", "blk.0.ffn_up.weight",
		"blk.1.ffn_up.weight"} {
		if err := w.AddFloats(name, []int64{256, 2}, make([]float32, 512)); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := w.WriteFile(context.Background(), nil, path); err != nil {
		t.Fatal(err)
	}
	src := open(t, path)
	m, err := mix.Get("iq2_xs")
	if err != nil {
		t.Fatal(err)
	}
	ones := make([]float32, 256)
	for i := range ones {
		ones[i] = 1
	}
	bad := append([]float32{float32(math.NaN())}, ones[1:]...)
	for _, tc := range []struct {
		name   string
		matrix Importance
		want   string
	}{
		{"none", nil, `"blk.0.attn_q.weight": storage type iq2_xs needs an importance matrix, and there is none`},
		{"one for some", Importance{"blk.0.attn_q.weight": ones, "blk.1.ffn_up.weight": ones},
			`"blk.0.ffn_up.weight": storage type iq2_xs needs`},
		{"for all but the table, whose type is another", Importance{"blk.0.attn_q.weight": ones,
			"blk.0.ffn_up.weight": ones, "blk.1.ffn_up.weight": ones}, ""},
		{"of a model with fewer layers", Importance{"blk.0.attn_q.weight": ones, "blk.0.ffn_up.weight": ones},
			"entries for 1 of the 2 layers of " + path + "; it is of another model"},
		{"of a deeper model", Importance{"blk.2.attn_q.weight": ones},
			`an entry for "blk.2.attn_q.weight", which ` + path + ` does not have; it is of another model`},
		{"of a wider model", Importance{"blk.0.attn_q.weight": append(ones, 1)},
			`257 elements for "blk.0.attn_q.weight", which takes 256`},
		{"damaged", Importance{"blk.0.attn_q.weight": bad}, "element 0 for"},
	} {
		_, err := NewPlan(src, Choice{Mix: m, Importance: tc.matrix})
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
}
