package llama_test

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings"
	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// A lora is one tensor's adapter: A is [in, rank], B is [rank, out], in ggml's order.
type lora struct {
	name          string
	in, rank, out int
	a, b          []float32
}

func newLoRA(name string, in, rank, out int, seed uint64) lora {
	r := rand.New(rand.NewPCG(seed, 0))
	l := lora{name, in, rank, out, make([]float32, in*rank), make([]float32, rank*out)}
	for _, s := range [][]float32{l.a, l.b} {
		for i := range s {
			s[i] = float32(r.NormFloat64()) * 0.1
		}
	}
	return l
}

// writeAdapter writes an adapter file, after change.
func writeAdapter(t *testing.T, arch string, alpha float32, change func(*gguf.Writer), loras ...lora) string {
	t.Helper()
	var w gguf.Writer
	w.SetString("general.type", "adapter")
	w.SetString("general.architecture", arch)
	w.SetString("adapter.type", "lora")
	w.SetFloat32("adapter.lora.alpha", alpha)
	if change != nil {
		change(&w)
	}
	for _, l := range loras {
		if err := w.AddFloats(l.name+".lora_a", []int64{int64(l.in), int64(l.rank)}, l.a); err != nil {
			t.Fatal(err)
		}
		if err := w.AddFloats(l.name+".lora_b", []int64{int64(l.rank), int64(l.out)}, l.b); err != nil {
			t.Fatal(err)
		}
	}
	return writeFile(t, &w)
}

// merge returns a copy of an F32 model with scale·B·A added to one tensor.
func merge(t *testing.T, path string, l lora, scale float64) string {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var w gguf.Writer
	w.CopyMetadata(f)
	for i := range f.Tensors {
		info := &f.Tensors[i]
		data, err := f.Data(info)
		if err != nil {
			t.Fatal(err)
		}
		data = append([]byte(nil), data...)
		if info.Name == l.name {
			for o := range l.out {
				for k := range l.in {
					at := data[4*(o*l.in+k):]
					v := float64(math.Float32frombits(binary.LittleEndian.Uint32(at)))
					for r := range l.rank {
						v += scale * float64(l.b[o*l.rank+r]) * float64(l.a[r*l.in+k])
					}
					binary.LittleEndian.PutUint32(at, math.Float32bits(float32(v)))
				}
			}
		}
		if err := w.AddBytes(info.Name, info.Type, info.Shape, data); err != nil {
			t.Fatal(err)
		}
	}
	return writeFile(t, &w)
}

func maxDiff(a, b []float32) float64 {
	d := 0.0
	for i := range a {
		d = max(d, math.Abs(float64(a[i])-float64(b[i])))
	}
	return d
}

// An adapter applied equals the adapter merged; at scale 0, or taken off, it equals the base.
func TestAdapterEqualsMerged(t *testing.T) {
	const (
		tolerance = 1e-5 // of logits of magnitude 3; measured 2e-6
		alpha     = 8
		rank      = 4
	)
	base := synth.Temp(t, synth.Tiny("llama", gguf.F32))
	l := newLoRA("blk.1.ffn_down.weight", 128, rank, 64, 1)
	tokens := []int32{1, 20, 30, 40, 300, 5, 6, 7, 8, 9}
	logits := func(path string) []float32 {
		m, err := llama.OpenModel(path, llama.VerifyModelOptions())
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		c := newContext(t, m, llama.VerifyContextOptions(32, 1))
		defer c.Close()
		out, err := c.Logits(t.Context(), tokens, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	plain, merged := logits(base), logits(merge(t, base, l, alpha/rank))
	if maxDiff(plain, merged) < 100*tolerance {
		t.Fatalf("merging changes logits by no more than %g: the test proves nothing", maxDiff(plain, merged))
	}
	m, err := llama.OpenModel(base, llama.VerifyModelOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a, err := m.LoadAdapter(writeAdapter(t, "llama", alpha, nil, l))
	if err != nil {
		t.Fatal(err)
	}
	c := newContext(t, m, llama.VerifyContextOptions(32, 1))
	defer c.Close()
	for _, step := range []struct {
		name     string
		adapters []*llama.Adapter
		scales   []float32
		want     []float32
	}{
		{"none", nil, nil, plain},
		{"applied", []*llama.Adapter{a}, []float32{1}, merged},
		{"scale 0", []*llama.Adapter{a}, []float32{0}, plain},
		{"applied again", []*llama.Adapter{a}, []float32{1}, merged},
		{"taken off", nil, nil, plain},
		{"on at close", []*llama.Adapter{a}, []float32{1}, merged},
	} {
		if err := c.SetAdapters(step.adapters, step.scales); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		got, err := c.Logits(t.Context(), tokens, nil)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if d := maxDiff(got, step.want); d > tolerance {
			t.Errorf("%s: logits differ by %g, want at most %g", step.name, d, tolerance)
		} else {
			t.Logf("%s: logits differ by %g", step.name, d)
		}
	}
	if err := m.Close(); !errors.Is(err, llama.ErrInUse) {
		t.Errorf("closing the model with an adapter loaded: got %v, want ErrInUse", err)
	}
	for range 2 {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	// the context holds what it applies
	if got, err := c.Logits(t.Context(), tokens, nil); err != nil || maxDiff(got, merged) > tolerance {
		t.Errorf("after the adapter's Close: %v", err)
	}
	if err := c.SetAdapters([]*llama.Adapter{a}, []float32{1}); !errors.Is(err, bindings.ErrClosed) {
		t.Errorf("a closed adapter: got %v, want ErrClosed", err)
	}
}

func TestSetAdaptersRefusals(t *testing.T) {
	path := synth.Temp(t, synth.Tiny("llama", gguf.F32))
	m, err := llama.OpenModel(path, llama.VerifyModelOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	other, err := llama.OpenModel(path, llama.VerifyModelOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	file := writeAdapter(t, "llama", 8, nil, newLoRA("blk.0.attn_q.weight", 64, 2, 64, 1))
	a, err := m.LoadAdapter(file)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := other.LoadAdapter(file)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	c := newContext(t, m, llama.VerifyContextOptions(32, 1))
	defer c.Close()
	for name, x := range map[string]struct {
		adapters []*llama.Adapter
		scales   []float32
	}{
		"no scale":      {[]*llama.Adapter{a}, nil},
		"nil":           {[]*llama.Adapter{nil}, []float32{1}},
		"twice":         {[]*llama.Adapter{a, a}, []float32{1, 1}},
		"another model": {[]*llama.Adapter{b}, []float32{1}},
		"no number":     {[]*llama.Adapter{a}, []float32{float32(math.NaN())}},
	} {
		if err := c.SetAdapters(x.adapters, x.scales); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestHostileAdapters(t *testing.T) {
	m, err := llama.OpenModel(synth.Temp(t, synth.Tiny("llama", gguf.F32)), llama.VerifyModelOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	good := newLoRA("blk.0.attn_q.weight", 64, 2, 64, 1)
	whole, err := os.ReadFile(writeAdapter(t, "llama", 8, nil, good))
	if err != nil {
		t.Fatal(err)
	}
	truncated := filepath.Join(t.TempDir(), "truncated.gguf")
	if err := os.WriteFile(truncated, whole[:len(whole)-512], 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, path, says string }{
		{"missing", filepath.Join(t.TempDir(), "none.gguf"), "no such file"},
		{"a model", m.Path(), "general.type"},
		{"truncated", truncated, ""},
		{"of another architecture", writeAdapter(t, "gpt2", 8, nil, good), "arch"},
		{"of another shape", writeAdapter(t, "llama", 8, nil, newLoRA("blk.0.attn_q.weight", 32, 2, 64, 1)),
			"blk.0.attn_q.weight"},
		{"of ranks that differ", writeAdapter(t, "llama", 8, func(w *gguf.Writer) {
			l := newLoRA("blk.0.attn_k.weight", 64, 2, 32, 1)
			if err := w.AddFloats(l.name+".lora_a", []int64{64, 2}, l.a); err != nil {
				t.Fatal(err)
			}
			if err := w.AddFloats(l.name+".lora_b", []int64{1, 32}, l.b[:32]); err != nil {
				t.Fatal(err)
			}
		}), "lora_a"},
		{"of half a pair", writeAdapter(t, "llama", 8, func(w *gguf.Writer) {
			if err := w.AddFloats("blk.0.attn_v.weight.lora_a", []int64{64, 2}, good.a); err != nil {
				t.Fatal(err)
			}
		}), "missing one component"},
		{"of a tensor that is not there",
			writeAdapter(t, "llama", 8, nil, newLoRA("blk.9.attn_q.weight", 64, 2, 64, 1)), "blk.9.attn_q.weight"},
		{"with alpha as text",
			writeAdapter(t, "llama", 8, func(w *gguf.Writer) { w.SetString("adapter.lora.alpha", "8") }, good),
			"internal check"},
		{"with a type as number",
			writeAdapter(t, "llama", 8, func(w *gguf.Writer) { w.SetUint32("general.type", 1) }, good),
			"internal check"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := m.LoadAdapter(c.path)
			if err == nil {
				a.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), filepath.Base(c.path)) {
				t.Errorf("got %v, want an error that names the file and says %q", err, c.says)
			}
			t.Log(err)
		})
	}
}

// llama.cpp cannot apply an adapter of a tied output, and finds that out by an assertion while it computes: that must
// be an error, after which the context only closes.
func TestAdapterOfTiedOutput(t *testing.T) {
	s := synth.Tiny("llama", gguf.F32)
	s.Tied = true
	m, err := llama.OpenModel(synth.Temp(t, s), llama.VerifyModelOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a, err := m.LoadAdapter(writeAdapter(t, "llama", 8, func(w *gguf.Writer) {
		l := newLoRA("token_embd.weight", 320, 2, 64, 1) // flipped
		if err := w.AddFloats("token_embd.weight.lora_a", []int64{2, 320}, l.a); err != nil {
			t.Fatal(err)
		}
		if err := w.AddFloats("token_embd.weight.lora_b", []int64{2, 64}, l.b); err != nil {
			t.Fatal(err)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	c := newContext(t, m, llama.VerifyContextOptions(32, 1))
	defer c.Close()
	err = c.SetAdapters([]*llama.Adapter{a}, []float32{1})
	if err == nil {
		_, err = c.Logits(t.Context(), []int32{1, 2, 3}, nil)
	}
	var e *bindings.Error
	if !errors.As(err, &e) || e.Code != bindings.Assertion {
		t.Fatalf("got %v, want a failed assertion", err)
	}
	t.Log(err)
	if _, err := c.Logits(t.Context(), []int32{1}, nil); err == nil || !errors.As(err, &e) {
		t.Errorf("afterwards: got %v, want the error that broke the context", err)
	}
}
