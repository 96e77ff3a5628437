package eval

import (
	"testing"

	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
)

// TestChoose: the sums of log-probabilities, and the choices by them and by them over lengths; of equal ones the first.
// Worked out by hand: argmax([-0.9, -1.2, -0.9]) = 0; argmax over lengths 3, 6, 3 = 1.
func TestChoose(t *testing.T) {
	d, err := encode.NewDataset(method.Answers, encode.Limits{SeqLen: 64})
	if err != nil {
		t.Fatal(err)
	}
	child := func(tokens ...int32) encode.Child {
		c := encode.Child{Tokens: tokens, Counted: make([]bool, len(tokens))}
		for i := range tokens {
			c.Counted[i] = true
		}
		return c
	}
	for _, children := range [][]encode.Child{{child(4, 5), child(12), child(9)}, {child(3), child(1, 1)}} {
		it, err := encode.Tree(data.Source{File: "x", Line: 1}, []int32{7, 7}, children...)
		if err != nil {
			t.Fatal(err)
		}
		d.Add(it)
	}
	rows, err := encode.NewLoader(d, encode.LoadOptions{Window: 64, Packing: encode.BestFit, Batch: 1})
	if err != nil {
		t.Fatal(err)
	}
	r := &ruler{} // minus a tenth of the token's number
	got, err := Choose(t.Context(), r, rows, [][]int{{3, 6, 3}, {1, 1}}, Options{NoAdapter: true})
	if err != nil {
		t.Fatal(err)
	}
	want := []Pick{{LogP: []float64{-0.9, -1.2, -0.9}, Best: 0, Norm: 1},
		{LogP: []float64{-0.3, -0.2}, Best: 1, Norm: 1}}
	for i := range want {
		g := got[i]
		if len(g.LogP) != len(want[i].LogP) || g.Norm != want[i].Norm {
			t.Fatalf("question %d: got %+v, want %+v", i, g, want[i])
		}
		for k := range g.LogP {
			if !near(g.LogP[k], want[i].LogP[k], 1e-6) { // float32 numbers
				t.Errorf("question %d: got %+v, want %+v", i, g, want[i])
			}
		}
	}
	if got[1].Best != 1 {
		t.Errorf("got %+v", got[1])
	}
	for _, o := range r.opts {
		if !o.Apply.None() {
			t.Error("the base was to be measured, and the adapter was applied")
		}
	}
	tie := Pick{LogP: []float64{-2, -1, -1}}
	if tie.pick([]int{2, 1, 1}); tie.Best != 1 || tie.Norm != 0 {
		t.Errorf("of equal ones got %+v, want the first", tie)
	}
}
