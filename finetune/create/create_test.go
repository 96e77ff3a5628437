package create

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/engine/verify"
)

func floats(t *testing.T, f *gguf.File, name string) []float64 {
	t.Helper()
	x, err := f.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := f.Data(x)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float64, len(b)/4)
	for i := range out {
		out[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])))
	}
	return out
}

// spreadIn is the standard deviation of numbers whose mean is next to nothing.
func spreadIn(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	return math.Sqrt(sum / float64(len(x)))
}

// TestMake: a model of every architecture has the shape asked for, fresh numbers, and the vocabulary of the one it
// takes after; Make has had llama.cpp compute the same from it. The seed decides the file.
func TestMake(t *testing.T) {
	for _, name := range arch.Predicting() {
		t.Run(name, func(t *testing.T) {
			like := verify.NeedLlama(t, synth.Temp(t, synth.Tiny(name, gguf.Q8_0)))
			layers := max(3, synth.Tiny(name, gguf.F32).Layers)
			job := Job{Like: like, Output: filepath.Join(t.TempDir(), "new.gguf"), Layers: layers, Context: 64,
				Type: gguf.F32, Seed: 1, Threads: 1}
			r, err := Make(t.Context(), job)
			if err != nil {
				t.Fatal(err)
			}
			if r.Arch != name || r.Layers != layers || r.Context != 64 {
				t.Errorf("got %+v", r)
			}
			m, err := engine.Open(job.Output)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			was, err := gguf.Open(like)
			if err != nil {
				t.Fatal(err)
			}
			defer was.Close()
			if hp := m.HParams(); hp.NLayer != layers || hp.NCtxTrain != 64 || m.Params() != r.Params {
				t.Errorf("the file has %+v, %d parameters", hp, m.Params())
			}
			for _, kv := range []string{"tokenizer.ggml.tokens", "tokenizer.ggml.model"} {
				a, _ := m.File().Value(kv)
				b, err := was.Value(kv)
				if err != nil || !a.Equal(b) {
					t.Errorf("%s differs (%v)", kv, err)
				}
			}
			last := 0.02 / math.Sqrt(2*float64(layers))
			experts := ""
			if a, err := arch.Get(name); err != nil {
				t.Fatal(err)
			} else if a.Example.Keys["expert_count"] != nil {
				experts = "_exps"
			}
			mixer := "attn_output"
			if !m.File().HasTensor("blk.0.attn_output.weight") {
				mixer = "shortconv.out_proj"
			}
			for tensor, want := range map[string]float64{"token_embd.weight": 0.02,
				"blk.2.ffn_up" + experts + ".weight":   0.02,
				"blk.1.ffn_down" + experts + ".weight": last, "blk.0." + mixer + ".weight": last} {
				if got := spreadIn(floats(t, m.File(), tensor)); math.Abs(got/want-1) > 0.05 {
					t.Errorf("%s has a spread of %g, want %g", tensor, got, want)
				}
			}
			norms := 0
			for _, tensor := range m.File().Tensors {
				if !strings.HasSuffix(tensor.Name, "norm.weight") {
					continue
				}
				norms++
				if norm := floats(t, m.File(), tensor.Name); slices.Max(norm) != 1 || slices.Min(norm) != 1 {
					t.Errorf("%s: a norm of %v", tensor.Name, norm)
				}
			}
			if norms < 3 { // one in each half of a layer, or one for both, and the last
				t.Errorf("%d norms", norms)
			}
			again := job
			again.Output = filepath.Join(t.TempDir(), "new.gguf")
			if _, err := Make(t.Context(), again); err != nil {
				t.Fatal(err)
			}
			other := again
			other.Seed, other.Output = 2, filepath.Join(t.TempDir(), "new.gguf")
			if _, err := Make(t.Context(), other); err != nil {
				t.Fatal(err)
			}
			a, b, c := read(t, job.Output), read(t, again.Output), read(t, other.Output)
			if a != b || a == c {
				t.Error("the seed does not decide the file")
			}
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestShape: what is not asked for keeps its proportion to the width, and what does not go together is refused.
func TestShape(t *testing.T) {
	like := synth.Temp(t, synth.Tiny("llama", gguf.F32))
	f, err := gguf.Open(like)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	was, _, err := readShape(f, "llama")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		change func(j *Job)
		want   func(s Shape) bool
		fault  string
	}{
		{"as it is", func(*Job) {}, func(s Shape) bool { return s == was }, ""},
		{"twice as wide", func(j *Job) { j.Width = 2 * was.Width }, func(s Shape) bool {
			return s.Heads == 2*was.Heads && s.KVHeads == 2*was.KVHeads && s.Head == was.Head && s.FFN == 2*was.FFN
		}, ""},
		{"fewer heads", func(j *Job) { j.Heads, j.KVHeads = 2, 1 }, func(s Shape) bool {
			return s.Head == was.Width/2 && s.KVHeads == 1 && s.Width == was.Width
		}, ""},
		{"no whole number of heads", func(j *Job) { j.Width = was.Width + 1 }, nil, "say how many with --heads"},
		{"heads do not divide", func(j *Job) { j.Heads = 7 }, nil, "is no multiple of 7 heads"},
		{"key heads do not divide", func(j *Job) { j.KVHeads = was.Heads - 1 }, nil, "change --heads or --kv-heads"},
		{"odd heads", func(j *Job) { j.Width, j.Heads, j.KVHeads = 33, 3, 3 }, nil, "expected an even number"},
		{"a type to train", func(j *Job) { j.Type = gguf.Q4_0 }, nil, "not as q4_0"},
		{"over itself", func(j *Job) { j.Output = like }, nil, like},
	} {
		t.Run(tc.name, func(t *testing.T) {
			job := Job{Like: like, Output: filepath.Join(t.TempDir(), "new.gguf"), Type: gguf.F16, Threads: 1}
			tc.change(&job)
			r, err := Make(t.Context(), job)
			if tc.fault == "" && (err != nil || !tc.want(r.Shape)) ||
				tc.fault != "" && (err == nil || !strings.Contains(err.Error(), tc.fault)) {
				t.Errorf("got %+v, %v; want %q", r, err, tc.fault)
			}
			left, err := os.ReadDir(filepath.Dir(job.Output))
			if tc.fault != "" && job.Output != like && (err != nil || len(left) > 0) {
				t.Errorf("%v is left, %v", left, err)
			}
		})
	}
}

// TestLayersThatDiffer: key heads and windows of the layers at hand begin again where they end, and with another number
// of heads the first keep their proportion to them.
func TestLayersThatDiffer(t *testing.T) {
	f, err := gguf.Open(synth.Temp(t, synth.Tiny("gemma4", gguf.F32))) // 2 and 1 key heads for 4, a window in the first
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, file, err := shapeOf(f, "gemma4", &Job{Layers: 5, Heads: 8})
	if err != nil {
		t.Fatal(err)
	}
	kv, err := file.Ints("gemma4" + keyHeads)
	if want := []int64{4, 2, 4, 2, 4}; err != nil || s.KVHeads != 4 || !slices.Equal(kv, want) {
		t.Errorf("key heads %v, the first %d, %v; want %v", kv, s.KVHeads, err, want)
	}
	windows, err := file.Bools("gemma4" + windowed)
	if want := []bool{true, false, true, false, true}; err != nil || !slices.Equal(windows, want) {
		t.Errorf("windows in %v, %v; want %v", windows, err, want)
	}
	for il, want := range windows { // layers without one have no values' matrix
		if name := arch.TensorName(arch.AttnV, ".weight", il); file.HasTensor(name) != want {
			t.Errorf("%s: %t, want %t", name, !want, want)
		}
	}
	for fault, job := range map[string]Job{"--kv-heads is one for all": {KVHeads: 2},
		"4 heads share a key head, and 2 heads cannot": {Heads: 2}} {
		if _, _, err := shapeOf(f, "gemma4", &job); err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("error: got %v, want one with %q", err, fault)
		}
	}
	job := Job{Like: f.Path(), Output: filepath.Join(t.TempDir(), "new.gguf"), Layers: 1, Type: gguf.F32, Threads: 1}
	if _, err := Make(t.Context(), job); err == nil || !strings.Contains(err.Error(), "no layer that sees everything") {
		t.Errorf("one layer with a window: %v", err)
	}
}

// TestLayersWithoutHeads: layers that do not attend go on not to, and some must.
func TestLayersWithoutHeads(t *testing.T) {
	f, err := gguf.Open(synth.Temp(t, synth.Tiny("lfm2", gguf.F32))) // none and 2 key heads for 4
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, file, err := shapeOf(f, "lfm2", &Job{Layers: 5, Heads: 8})
	if err != nil {
		t.Fatal(err)
	}
	kv, err := file.Ints("lfm2" + keyHeads)
	if want := []int64{0, 4, 0, 4, 0}; err != nil || s.KVHeads != 4 || !slices.Equal(kv, want) {
		t.Errorf("key heads %v, %d in those that attend, %v; want %v", kv, s.KVHeads, err, want)
	}
	for fault, job := range map[string]Job{"--kv-heads is one for all": {KVHeads: 2},
		"2 heads share a key head, and 3 heads cannot": {Heads: 3}} {
		if _, _, err := shapeOf(f, "lfm2", &job); err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("error: got %v, want one with %q", err, fault)
		}
	}
	if _, _, err := shapeOf(f, "lfm2", &Job{Layers: 1}); err == nil || !strings.Contains(err.Error(), "none attends") {
		t.Errorf("error: got %v, want one that says that none attends", err)
	}
}
