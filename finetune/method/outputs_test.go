package method

import (
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/internal/setting"
)

// several is a method of all that a pass gives for counted tokens.
func several(values Values) *Method {
	m := &Method{Name: "several", Unit: "answer", Value: values, Entropy: values != AtEnds}
	m.Loss = func(in *Inputs, _ setting.Values) (Result, error) {
		return Result{Units: 1, Grad: slices.Clone(in.LogP), GradValue: slices.Clone(in.Value),
			GradEntropy: slices.Clone(in.Entropy)}, nil
	}
	return m
}

// twoMicros are the inputs of two micro-batches, each number unlike the others.
func twoMicros(m *Method) []*Inputs {
	out := []*Inputs{{Sequences: []Sequence{{Start: 0, Len: 2}, {Start: 2, Len: 1, Child: 1}}},
		{Sequences: []Sequence{{Start: 0, Len: 4}}}}
	x := 0.0
	some := func(n int) (v []float64) {
		for range n {
			x++
			v = append(v, x)
		}
		return v
	}
	for i, counted := range []int{3, 4} {
		in := out[i]
		if m.LogP() {
			in.LogP, in.Entropy = some(counted), some(counted)
		}
		in.Value = some(m.Value.Of(len(in.Sequences), counted))
	}
	return out
}

// TestAppendAndCut: derivatives of inputs put together come apart as those of each.
func TestAppendAndCut(t *testing.T) {
	for _, values := range []Values{NoValues, AtEnds, AtTokens} {
		m, all := several(values), &Inputs{}
		micros := twoMicros(m)
		for _, in := range micros {
			all.Append(in)
		}
		rest, err := m.Evaluate(all)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(rest.Slopes()); n != len(all.LogP)+len(all.Value)+len(all.Entropy) {
			t.Errorf("values %d: %d slopes", values, n)
		}
		for i, in := range micros {
			var own Result
			own, rest = rest.Cut(in)
			if !slices.Equal(own.Grad, in.LogP) || !slices.Equal(own.GradValue, in.Value) ||
				!slices.Equal(own.GradEntropy, in.Entropy) {
				t.Errorf("values %d, micro-batch %d: got %v, want those of %v", values, i, own, *in)
			}
		}
		if n := len(rest.Slopes()); n != 0 {
			t.Errorf("values %d: %d slopes are nobody's", values, n)
		}
	}
}

// TestEvaluateNeedsOutputs: what a method needs and does not get is named, and so is what it gives no derivatives of.
func TestEvaluateNeedsOutputs(t *testing.T) {
	for name, c := range map[string]struct {
		values Values
		spoil  func(*Inputs)
		want   string
	}{
		"no value":     {AtTokens, func(in *Inputs) { in.Value = nil }, "0 values for 2 sequences of 3"},
		"no end":       {AtEnds, func(in *Inputs) { in.Value = in.Value[1:] }, "1 values for 2 sequences"},
		"unasked":      {AtEnds, func(in *Inputs) { in.LogP = make([]float64, 3) }, "3 log-probabilities for"},
		"no entropy":   {AtTokens, func(in *Inputs) { in.Entropy = nil }, "0 entropies"},
		"uncalled for": {NoValues, func(in *Inputs) { in.Value = in.LogP }, "3 values"},
	} {
		m := several(c.values)
		in := twoMicros(m)[0]
		c.spoil(in)
		if _, err := m.Evaluate(in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	m := several(AtTokens)
	m.Loss = func(in *Inputs, _ setting.Values) (Result, error) {
		return Result{Grad: in.LogP, GradEntropy: in.LogP}, nil
	}
	if _, err := m.Evaluate(twoMicros(m)[0]); err == nil || !strings.Contains(err.Error(), "0 gradients for 3 values") {
		t.Errorf("no derivatives by values: %v", err)
	}
}
