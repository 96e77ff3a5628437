package encode

import (
	"slices"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/method"
)

// twoTrees are two rows: a prompt of 2 tokens with answers of 2 and 3, of which the first token of the last does not
// count; and two roots of 3, of which the last two tokens count.
func twoTrees() *Micro {
	return &Micro{Counted: 8, Batch: engine.Batch{Rows: []engine.Row{
		{Tokens: make([]int32, 7), Counted: []int32{2, 3, 5, 6}, Segments: []engine.Segment{{Len: 2, Parent: -1},
			{Start: 2, Len: 2}, {Start: 4, Len: 3}}},
		{Tokens: make([]int32, 6), Counted: []int32{1, 2, 4, 5}, Segments: []engine.Segment{{Len: 3, Parent: -1},
			{Start: 3, Len: 3, Parent: -1}}},
	}}, Sequences: []method.Sequence{{Start: 0, Len: 2, Child: 1}, {Start: 2, Len: 2, Child: 2},
		{Start: 4, Len: 2}, {Start: 6, Len: 2}}}
}

// TestValues: values are asked for where the method wants them, and come back as its own, their slopes too; of answers
// that share a prompt, the value at its end is one, and its slopes add up.
func TestValues(t *testing.T) {
	shared := twoTrees() // both answers count from their first token
	shared.Batch.Rows = shared.Batch.Rows[:1]
	shared.Batch.Rows[0].Counted = []int32{2, 3, 4, 5, 6}
	shared.Counted, shared.Sequences = 5, []method.Sequence{{Start: 0, Len: 2}, {Start: 2, Len: 3}}
	for name, c := range map[string]struct {
		m      *Micro
		at     method.Values
		valued [][]int32 // by row
		value  []float64 // that the method sees, where the engine gives each valued token its number
		slopes []float32 // the engine's, where the method's are 1, 2, 3, …
	}{
		"ends": {twoTrees(), method.AtEnds, [][]int32{{3, 6}, {2, 5}}, []float64{0, 1, 2, 3},
			[]float32{1, 2, 3, 4}},
		"tokens": {twoTrees(), method.AtTokens, [][]int32{{1, 2, 4, 5}, {0, 1, 3, 4}},
			[]float64{0, 1, 2, 3, 4, 5, 6, 7}, []float32{1, 2, 3, 4, 5, 6, 7, 8}},
		"shared prompt": {shared, method.AtTokens, [][]int32{{1, 2, 4, 5}}, []float64{0, 1, 0, 2, 3},
			[]float32{1 + 3, 2, 4, 5}},
	} {
		how := &method.Method{Value: c.at}
		want, err := c.m.Want(how, nil)
		if err != nil {
			t.Fatal(err)
		}
		if logp := slices.Contains(want, engine.LogP); !slices.Contains(want, engine.Value) || logp != how.LogP() {
			t.Errorf("%s: asks for %d outputs", name, len(want))
		}
		n := 0
		for i, row := range c.m.Batch.Rows {
			if !slices.Equal(row.Valued, c.valued[i]) {
				t.Errorf("%s: row %d: valued %v, want %v", name, i, row.Valued, c.valued[i])
			}
			n += len(row.Valued)
		}
		out := engine.Outputs{engine.Value: make([]float32, n)}
		for i := range n {
			out[engine.Value][i] = float32(i)
		}
		if how.LogP() {
			out[engine.LogP] = make([]float32, c.m.Counted)
		}
		in, err := c.m.Inputs(how, out, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(in.Value, c.value) {
			t.Errorf("%s: values %v, want %v", name, in.Value, c.value)
		}
		r := &method.Result{Grad: in.LogP}
		for i := range in.Value {
			r.GradValue = append(r.GradValue, float64(1+i))
		}
		slopes := c.m.Slopes(how, r)
		if !slices.Equal(slopes[engine.Value], c.slopes) || len(slopes) != len(want) {
			t.Errorf("%s: slopes %v, want %v", name, slopes[engine.Value], c.slopes)
		}
		out[engine.Value] = out[engine.Value][1:]
		if _, err := c.m.Inputs(how, out, nil, nil); err == nil {
			t.Errorf("%s: a value too few is accepted", name)
		}
	}
}
