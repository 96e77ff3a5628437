package adapter

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// expertSpec is a tiny model of so many experts.
func expertSpec(n int) synth.Spec {
	s := synth.Tiny("qwen3moe", gguf.F32)
	s.Keys = map[string]any{"expert_count": n}
	return s
}

// TestExpertsOnDisk: the pairs of experts lie in a file as llama.cpp reads them, and come back as they were; those of
// another number of experts, which llama.cpp would not notice, are refused.
func TestExpertsOnDisk(t *testing.T) {
	want := filled(t, tinyNet(t, expertSpec(4)), Config{Alpha: 8})
	path := filepath.Join(t.TempDir(), "adapter.gguf")
	if err := want.Save(context.Background(), nil, path); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, shape := range map[string][]int64{"blk.0.ffn_down_exps.weight.lora_a": {128, 4, 4},
		"blk.0.ffn_down_exps.weight.lora_b": {4, 64, 4}, "blk.0.ffn_gate_inp.weight.lora_a": {64, 4}} {
		if x, err := f.Tensor(name); err != nil || !slices.Equal(x.Shape, shape) {
			t.Errorf("%s has shape %v, want %v (%v)", name, x.Shape, shape, err)
		}
	}
	for _, read := range []func() (*Adapter, error){
		func() (*Adapter, error) { return Load(path, tinyNet(t, expertSpec(4))) },
		func() (*Adapter, error) { return Read(path) },
	} {
		got, err := read()
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range got.Pairs {
			if w := want.Pairs[i]; p.Experts != w.Experts || p.weight() != w.weight() || !slices.Equal(p.A, w.A) ||
				!slices.Equal(p.B, w.B) {
				t.Errorf("%s comes back as another pair", w.Tensor)
			}
		}
	}
	_, err = Load(path, tinyNet(t, expertSpec(5)))
	if err == nil || !strings.Contains(err.Error(), "the model needs") {
		t.Errorf("an adapter of 4 experts beside 5: %v", err)
	}
}

// TestExpertsCombined: adding, cutting, thinning and merging do to the pair of each expert what they do to any pair.
func TestExpertsCombined(t *testing.T) {
	a := filled(t, tinyNet(t, expertSpec(4)), Config{Alpha: 8})
	a.Pairs = slices.DeleteFunc(a.Pairs, func(p Pair) bool { return p.Tensor != "blk.1.ffn_up_exps.weight" })
	p := a.Pairs[0]
	sum, err := NewSum(Scaled{a, 0.5})
	if err != nil {
		t.Fatal(err)
	}
	rows, columns := int(p.BShape[1]), int(p.AShape[0])
	merged := make([]float32, 4*rows*columns)
	sum.AddTo(p.Tensor, 0, merged, int64(columns))
	for e, q := range p.matrices() { // row by row, expert by expert
		for o := range rows {
			for i := range columns {
				w := 0.0
				for r := range 4 {
					w += 0.5 * a.Scale(&p) * float64(q.B[o*4+r]) * float64(q.A[r*columns+i])
				}
				if got := float64(merged[(e*rows+o)*columns+i]); math.Abs(got-w) > 1e-6 {
					t.Fatalf("expert %d, row %d, input %d: %g is added, want %g", e, o, i, got, w)
				}
			}
		}
	}
	both, err := Add(Scaled{a, 1}, Scaled{a, -0.5})
	if err != nil {
		t.Fatal(err)
	}
	cut, _, err := both.Truncate(context.Background(), 4, nobody)
	if err != nil {
		t.Fatal(err)
	}
	all, _, err := MergeSparse(context.Background(), Sparse{Density: 1, Rank: 4}, nobody, Scaled{a, 0.5})
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]*Adapter{"a sum": both, "cut": cut, "thinned": all} {
		if len(x.Pairs) != 1 || x.Pairs[0].weight() != p.weight() {
			t.Errorf("%s: %d pairs", name, len(x.Pairs))
			continue
		}
		s, err := NewSum(Scaled{x, 1})
		if err != nil {
			t.Fatal(err)
		}
		got := make([]float32, len(merged))
		s.AddTo(p.Tensor, 0, got, int64(columns))
		for i, w := range merged {
			if math.Abs(float64(got[i]-w)) > 1e-5 {
				t.Fatalf("%s changes element %d by %g, want %g", name, i, got[i], w)
			}
		}
	}
}
