package adapter

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

func nobody(int, int) {}

// combined is what scripts/record_peft_combine.py recorded.
type combined struct {
	Shapes   map[string][2]int64 `json:"shapes"`
	Adapters map[string]struct {
		Alpha float64 `json:"alpha"`
		Pairs map[string]struct {
			A    []float32 `json:"a"`
			B    []float32 `json:"b"`
			Rank int64     `json:"rank"`
		} `json:"pairs"`
	} `json:"adapters"`
	Cases []struct {
		Kind    string               `json:"kind"`
		Weights []float64            `json:"weights"`
		Density float64              `json:"density"`
		Rank    int                  `json:"rank"`
		Delta   map[string][]float64 `json:"delta"`
		Masks   [][]int              `json:"masks"`
	} `json:"cases"`
}

func readCombined(t *testing.T) *combined {
	t.Helper()
	text, err := os.ReadFile("testdata/peft_combine.json")
	if err != nil {
		t.Fatal(err)
	}
	var r combined
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

func (r *combined) adapter(name string) *Adapter {
	from := r.Adapters[name]
	a := &Adapter{Arch: "llama", Alpha: from.Alpha, Info: map[string]string{}}
	for _, tensor := range []string{"attn_q", "attn_k"} {
		if p, ok := from.Pairs[tensor]; ok {
			s := r.Shapes[tensor]
			a.Pairs = append(a.Pairs, Pair{Tensor: tensor, Rank: p.Rank, A: p.A, B: p.B,
				AShape: [2]int64{s[0], p.Rank}, BShape: [2]int64{p.Rank, s[1]}})
		}
	}
	return a
}

// change is what an adapter adds to each tensor.
func change(a *Adapter) map[string][]float64 {
	out := map[string][]float64{}
	for i := range a.Pairs {
		p := &a.Pairs[i]
		rows, columns := p.extent()
		x := make([]float32, rows*columns)
		p.addTo(x, a.Scale(p))
		for _, v := range x {
			out[p.Tensor] = append(out[p.Tensor], float64(v))
		}
	}
	return out
}

// peftNoise is what PEFT, in float32, is away from the numbers in float64: the largest seen, 3e-6, times 2.
const peftNoise = 6e-6

// TestAgainstPEFT: each combination changes weights as PEFT's add_weighted_adapter has it.
func TestAgainstPEFT(t *testing.T) {
	r := readCombined(t)
	for _, c := range r.Cases {
		list := []Scaled{{r.adapter("one"), c.Weights[0]}, {r.adapter("two"), c.Weights[1]}}
		got, err := Add(list...)
		switch {
		case err != nil:
		case c.Kind == "svd":
			got, _, err = got.Truncate(context.Background(), c.Rank, nobody)
		case c.Kind != "cat":
			drawn := 0 // the masks are in the order of tensors and adapters
			o := Sparse{Density: c.Density, Rank: c.Rank, Random: strings.HasPrefix(c.Kind, "dare"),
				Elect: strings.Contains(c.Kind, "ties")}
			o.kept = func(string, int) func() bool {
				mask := c.Masks[drawn]
				drawn++
				return func() bool {
					kept := mask[0] == 1
					mask = mask[1:]
					return kept
				}
			}
			got, _, err = MergeSparse(context.Background(), o, nobody, list...)
			if drawn != len(c.Masks) {
				t.Errorf("%s: %d masks drawn, PEFT drew %d", c.Kind, drawn, len(c.Masks))
			}
		}
		if err != nil {
			t.Fatalf("%s: %v", c.Kind, err)
		}
		for tensor, is := range change(got) {
			for i, want := range c.Delta[tensor] {
				if math.Abs(is[i]-want) > peftNoise {
					t.Errorf("%s %v: %s[%d] changes by %.7f, PEFT's by %.7f", c.Kind, c.Weights, tensor, i, is[i], want)
					break
				}
			}
		}
		if len(got.Pairs) != len(c.Delta) {
			t.Errorf("%s: %d pairs, PEFT has %d", c.Kind, len(got.Pairs), len(c.Delta))
		}
	}
}

// TestAddIsExact: of adapters of one scale the halves are copied, flipped ones too; an adapter scaled by 0 leaves no
// trace; what is taken from itself leaves nothing.
func TestAddIsExact(t *testing.T) {
	net := tinyNet(t, synth.Tiny("llama", gguf.F32))
	a := filled(t, net, Config{Alpha: 16})
	b := filled(t, net, Config{Alpha: 16, Seed: 9})
	got, err := Add(Scaled{a, 1}, Scaled{b, 0})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(a.Pairs[:3], got.Pairs[:3], cmp.Transformer("numbers", func(p Pair) []float32 {
		return append(slices.Clone(p.A), p.B...)
	})); d != "" || got.Alpha != a.Alpha {
		t.Errorf("alone it is another one, alpha %g (-before +after):\n%s", got.Alpha, d)
	}
	if got, err = Add(Scaled{a, 1}, Scaled{b, 1}); err != nil {
		t.Fatal(err)
	}
	one, other, both := change(a), change(b), change(got)
	for i := range got.Pairs {
		p := &got.Pairs[i]
		_, was := a.Pairs[i].factors()
		if _, down := p.factors(); p.Rank != 8 || !slices.Equal(down[:len(was)], was) {
			t.Errorf("%s: rank %d, want 8, and first a's numbers", p.Tensor, p.Rank)
		}
		for k, v := range both[p.Tensor] {
			if want := one[p.Tensor][k] + other[p.Tensor][k]; math.Abs(v-want) > 1e-5*(1+math.Abs(want)) {
				t.Fatalf("%s[%d] changes by %g, want %g", p.Tensor, k, v, want)
			}
		}
	}
	if _, err := Add(Scaled{a, 0}); err == nil {
		t.Error("nothing was made an adapter")
	}
}

// TestCombineRefuses: what cannot be added is named.
func TestCombineRefuses(t *testing.T) {
	net := tinyNet(t, synth.Tiny("llama", gguf.F32))
	good := filled(t, net, Config{Alpha: 16})
	for name, tt := range map[string]struct {
		spoil func(a *Adapter)
		want  string
	}{
		"another architecture": {func(a *Adapter) { a.Arch = "qwen2" }, "cannot be combined"},
		"another width":        {func(a *Adapter) { a.Pairs[0].Tensor = "blk.0.attn_k.weight" }, "different models"},
		"NaN":                  {func(a *Adapter) { a.Pairs[1].A[0] = float32(math.NaN()) }, "NaN"},
	} {
		bad := filled(t, net, Config{Alpha: 16})
		tt.spoil(bad)
		if _, err := Add(Scaled{good, 1}, Scaled{bad, 1}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want one with %q", name, err, tt.want)
		}
		if _, _, err := MergeSparse(context.Background(), Sparse{Density: 1, Rank: 1}, nobody, Scaled{good, 1},
			Scaled{bad, 1}); err == nil {
			t.Errorf("%s: merged", name)
		}
		if name == "NaN" {
			if _, _, err := bad.Truncate(context.Background(), 1, nobody); err == nil {
				t.Errorf("%s: truncated", name)
			}
		}
	}
}

// TestTruncate: a rank that is enough keeps every number, one that is not loses what it says.
func TestTruncate(t *testing.T) {
	net := tinyNet(t, synth.Tiny("llama", gguf.F32))
	a := filled(t, net, Config{Alpha: 16})
	same, lost, err := a.Truncate(context.Background(), 4, nobody)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(a.Pairs, same.Pairs); d != "" || lost.Energy != 0 || same.Alpha != a.Alpha {
		t.Errorf("rank 4 of 4 loses %g (-before +after):\n%s", lost.Energy, d)
	}
	less, lost, err := a.Truncate(context.Background(), 1, nobody)
	if err != nil {
		t.Fatal(err)
	}
	energy, away := 0.0, 0.0
	was, is := change(a), change(less)
	for tensor, x := range was {
		for i, v := range x {
			energy += v * v
			away += (v - is[tensor][i]) * (v - is[tensor][i])
		}
	}
	if got := away / energy; math.Abs(got-lost.Energy) > 1e-5 || got < 0.01 || lost.Worst < got {
		t.Errorf("rank 1 is away by %g of the energy; said are %g, at most %g", got, lost.Energy, lost.Worst)
	}
}

// TestChance: DARE keeps the share it was asked for, other changes for each adapter and tensor, and the same with one
// seed.
func TestChance(t *testing.T) {
	const n = 10000
	draw := func(seed uint64, tensor string, adapter int) []float32 {
		x := slices.Repeat([]float32{1}, n)
		o := Sparse{Density: 0.25, Seed: seed}
		o.drop(x, o.chance(tensor, adapter))
		return x
	}
	x := draw(1, "a", 0)
	sum, kept := float32(0), 0
	for _, v := range x {
		sum += v
		if v != 0 {
			kept++
		}
	}
	// Five standard deviations of a share of 10000.
	if math.Abs(float64(kept)/n-0.25) > 0.022 || sum != 4*float32(kept) {
		t.Errorf("%d of %d kept, their sum %g; want a quarter, each times 4", kept, n, sum)
	}
	if !slices.Equal(x, draw(1, "a", 0)) {
		t.Error("the same seed keeps other changes")
	}
	for name, y := range map[string][]float32{"seed": draw(2, "a", 0), "tensor": draw(1, "b", 0),
		"adapter": draw(1, "a", 1)} {
		if slices.Equal(x, y) {
			t.Errorf("another %s keeps the same changes", name)
		}
	}
}

func TestKeepLargest(t *testing.T) {
	for _, tt := range []struct {
		n    int
		want []float32
	}{
		{0, []float32{0, 0, 0, 0, 0}}, {1, []float32{0, -3, 0, 0, 0}}, {2, []float32{0, -3, 0, 2, 0}},
		{3, []float32{1, -3, 0, 2, 0}}, // of equal ones the first
		{9, []float32{1, -3, 1, 2, 1e-20}},
	} {
		x := []float32{1, -3, 1, 2, 1e-20}
		keepLargest(x, tt.n)
		if !slices.Equal(x, tt.want) {
			t.Errorf("the %d largest: got %v, want %v", tt.n, x, tt.want)
		}
	}
}

// TestExtract: of a model and one with an adapter in it the adapter is found again; what it cannot hold is named.
func TestExtract(t *testing.T) {
	for _, spec := range []synth.Spec{synth.Tiny("llama", gguf.F32), expertSpec(4)} {
		t.Run(spec.Arch, func(t *testing.T) { extract(t, spec) })
	}
}

func extract(t *testing.T, spec synth.Spec) {
	base := synth.Temp(t, spec)
	f, err := gguf.Open(base)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	net := tinyNet(t, spec)
	a := filled(t, net, Config{Alpha: 1})
	sum, err := NewSum(Scaled{a, 1})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tuned.gguf")
	writeChanged(t, f, path, func(name string, x []float32, width int64) {
		sum.AddTo(name, 0, x, width)
		if name == "output_norm.weight" {
			x[0]++
		}
	})
	tuned, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer tuned.Close()
	got, lost, err := Extract(context.Background(), f, tuned, 4, nobody)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Pairs) != len(a.Pairs) || lost.Energy > 1e-10 {
		t.Errorf("%d pairs with %g lost, want %d with nothing", len(got.Pairs), lost.Energy, len(a.Pairs))
	}
	if len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "1 other tensor (output_norm.weight)") {
		t.Errorf("notes are %q, want one that names output_norm.weight", got.Notes)
	}
	want, is := change(a), change(got)
	for tensor, x := range want {
		for i, v := range x {
			if math.Abs(is[tensor][i]-v) > 1e-5 { // the weights are rounded to f32 around 1
				t.Fatalf("%s[%d] changes by %g, want %g", tensor, i, is[tensor][i], v)
			}
		}
	}
	if _, _, err := Extract(context.Background(), f, f, 4, nobody); err == nil ||
		!strings.Contains(err.Error(), "no matrix") {
		t.Errorf("of the same model: got error %v, want one that says that nothing differs", err)
	}
}

// writeChanged writes a model in f32 with other numbers.
func writeChanged(t *testing.T, f *gguf.File, path string, change func(name string, x []float32, width int64)) {
	t.Helper()
	var w gguf.Writer
	w.CopyMetadata(f)
	for i := range f.Tensors {
		info := &f.Tensors[i]
		x := make([]float32, info.Elements())
		l := loader{f: f}
		if err := l.read(x, info); err != nil {
			t.Fatal(err)
		}
		change(info.Name, x, info.Shape[0])
		if err := w.AddFloats(info.Name, info.Shape, x); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.WriteFile(context.Background(), nil, path); err != nil {
		t.Fatal(err)
	}
}
