package method

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// pairOf is one pair from its log-probabilities; ref nil: no reference.
func pairOf(chosen, rejected, refChosen, refRejected []float64) *Inputs {
	in := &Inputs{LogP: append(append([]float64(nil), chosen...), rejected...)}
	if refChosen != nil {
		in.Ref = append(append([]float64(nil), refChosen...), refRejected...)
	}
	in.Sequences = []Sequence{{Start: 0, Len: len(chosen), Child: 1, Weight: 1},
		{Start: len(chosen), Len: len(rejected), Child: 2, Weight: 1}}
	return in
}

func TestPairMetrics(t *testing.T) {
	in := pairOf([]float64{-1, -2}, []float64{-3}, []float64{-2, -2}, []float64{-1})
	in.Append(pairOf([]float64{-1}, []float64{-1}, []float64{-1}, []float64{-1})) // a tie
	in.Sequences[2].Example, in.Sequences[3].Example = 1, 1
	got, err := DPO.Evaluate(in)
	if err != nil {
		t.Fatal(err)
	}
	want := []Metric{
		{"chosen_reward", 0.1 * 1, 2},
		{"rejected_reward", 0.1 * -2, 2},
		{"margin", 0.1 * 3, 2},
		{"accuracy", 1.5, 2},
		{"chosen_logp", -4, 3},
		{"rejected_logp", -4, 2},
		{"kl", 0.5 * (1 + 4), 5},
		{"chosen_len", 3, 2},
		{"rejected_len", 2, 2},
	}
	if d := cmp.Diff(got.Metrics, want, cmpopts.EquateApprox(0, 1e-12)); d != "" {
		t.Errorf("figures, got − want +:\n%s", d)
	}
	if want := math.Log1p(math.Exp(-0.3)) + math.Ln2; math.Abs(got.Sum-want) > 1e-12 || got.Units != 2 {
		t.Errorf("loss: got %g of %g, want %g of 2", got.Sum, got.Units, want)
	}
}

func TestPairsMalformed(t *testing.T) {
	for name, q := range map[string][]Sequence{
		"one answer":    {{Len: 2, Child: 1}},
		"swapped":       {{Len: 1, Child: 2}, {Start: 1, Len: 1, Child: 1}},
		"two prompts":   {{Len: 1, Child: 1}, {Start: 1, Len: 1, Child: 2, Example: 1}},
		"not a pair":    {{Len: 1}, {Start: 1, Len: 1}},
		"chosen, twice": {{Len: 1, Child: 1}, {Start: 1, Len: 1, Child: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := DPO.Evaluate(&Inputs{LogP: []float64{-1, -2}, Ref: []float64{-1, -1},
				Sequences: q}); err == nil {
				t.Error("no error")
			}
		})
	}
}
