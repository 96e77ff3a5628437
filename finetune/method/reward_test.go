package method

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ggtune/ggtune/internal/setting"
)

// scoredPairs are answers of one token with scores.
func scoredPairs(chosen, rejected, margins []float64) *Inputs {
	in := &Inputs{}
	for i := range chosen {
		in.Value = append(in.Value, chosen[i], rejected[i])
		for child := 1; child <= 2; child++ {
			in.Sequences = append(in.Sequences, Sequence{Start: len(in.Sequences), Len: 1, Example: i, Child: child,
				Label: float64(2 - child), Margin: margins[i], Weight: 1})
		}
	}
	return in
}

// TestRewardRecorded holds both methods of scores against recordings (scripts/record_reward.py).
func TestRewardRecorded(t *testing.T) {
	var rec struct {
		MadeWith string    `json:"made_with"`
		Chosen   []float64 `json:"chosen"`
		Rejected []float64 `json:"rejected"`
		Margins  []float64 `json:"margins"`
		Cases    []struct {
			Method   string         `json:"method"`
			Settings setting.Values `json:"settings"`
			Loss     float64        `json:"loss"`
			Grad     []float64      `json:"grad"`
			Accuracy float64        `json:"accuracy"`
			Margin   *float64       `json:"margin"`
		} `json:"cases"`
	}
	readRecording(t, "reward.json", &rec)
	const tie = 0.5 / 5 // TRL counts a tie, of which there is one of 5, as a miss
	const tol = 1e-9    // ten digits are kept
	approx := cmpopts.EquateApprox(tol, tol)
	if len(rec.Cases) < 5 {
		t.Fatalf("%d cases", len(rec.Cases))
	}
	for _, c := range rec.Cases {
		m, err := New(c.Method, nil, c.Settings)
		if err != nil {
			t.Fatal(err)
		}
		r, err := m.Evaluate(scoredPairs(rec.Chosen, rec.Rejected, rec.Margins))
		if err != nil {
			t.Fatal(err)
		}
		n := len(rec.Chosen)
		var grad []float64
		for first := range 2 {
			for i := range n {
				grad = append(grad, r.GradValue[2*i+first]/r.Units)
			}
		}
		figure := func(name string) float64 {
			f := r.Metrics[slices.IndexFunc(r.Metrics, func(f Metric) bool { return f.Name == name })]
			return f.Sum / f.Weight
		}
		if d := cmp.Diff(append(c.Grad, c.Loss), append(grad, r.Sum/r.Units), approx); d != "" {
			t.Errorf("%s %v: gradient and loss, want − got +:\n%s", c.Method, c.Settings, d)
		}
		want := c.Accuracy
		if c.Margin != nil {
			want += tie
			if got := figure("margin"); !(math.Abs(got-*c.Margin) <= tol) {
				t.Errorf("%s: margin %g, want %g", c.Method, got, *c.Margin)
			}
		}
		if got := figure("accuracy"); !(math.Abs(got-want) <= 1e-7) { // TRL's is float32
			t.Errorf("%s: accuracy %g, want %g", c.Method, got, want)
		}
	}
}

// TestRewardWeighs: the pairs of a list count as much as one pair, in the loss and in the figures.
func TestRewardWeighs(t *testing.T) {
	in := scoredPairs([]float64{3, 1, 2}, []float64{0, 2, 1}, make([]float64, 3))
	want, err := Reward.Evaluate(scoredPairs([]float64{3, 1}, []float64{0, 2}, make([]float64, 2)))
	if err != nil {
		t.Fatal(err)
	}
	in.Sequences, in.Value = in.Sequences[:4], in.Value[:4]
	in.Append(scoredPairs([]float64{1}, []float64{2}, []float64{0}))
	in.Sequences[4].Example, in.Sequences[5].Example = 2, 2
	for i := 2; i < 6; i++ {
		in.Sequences[i].Weight = 0.5
	}
	got, err := Reward.Evaluate(in)
	if err != nil {
		t.Fatal(err)
	}
	approx := cmpopts.EquateApprox(1e-12, 1e-12)
	if d := cmp.Diff(want.Metrics, got.Metrics, approx); d != "" || got.Units != 2 ||
		!(math.Abs(got.Sum-want.Sum) < 1e-12) {
		t.Errorf("a pair given twice with half the weight: %g of %g, want %g of 2\n%s", got.Sum, got.Units, want.Sum, d)
	}
}
