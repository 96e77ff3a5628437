package run

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/reward"
	"github.com/ggtune/ggtune/finetune/rl"
)

// TestAnswered: what is said of answers is the mean over prompts; an answer passes that all checks find right, and
// pass@k is the unbiased estimate over them.
func TestAnswered(t *testing.T) {
	open := func(specs ...string) *reward.Rewards {
		t.Helper()
		r, err := reward.Open(specs, nil, reward.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	// Of the answers to the three prompts 0, 1 and 4 are exact, and one of the four lacks the form.
	var got rl.Measured
	for p, exact := range []int{0, 1, 4} {
		m := rl.MeasuredPrompt{Example: p}
		for k := range 4 {
			x := rl.Rewarded{Parts: []float64{0, -0.5, 1}}
			if k < exact {
				x.Parts[0] = 1
			}
			if p == 2 && k == 3 {
				x.Parts[2] = 0
			}
			x.Total = x.Parts[0] + x.Parts[1] + x.Parts[2]
			m.Rewards = append(m.Rewards, x)
		}
		got.Prompts = append(got.Prompts, m)
	}
	names := []string{"reward_exact", "reward_length", "reward_format"}
	a := answered(got, 4, names, open("exact", "length=3", "format"), 1)
	values := map[string]float64{}
	for _, list := range [][]Score{a.Rewards, a.Passes} {
		for _, s := range list {
			values[s.Name] = math.Round(s.Share.Value*1e9) / 1e9
			if lo, hi := s.Share.Interval[0], s.Share.Interval[1]; lo > s.Share.Value || hi < s.Share.Value {
				t.Errorf("%s: %g lies outside of %g to %g", s.Name, s.Share.Value, lo, hi)
			}
		}
	}
	third := func(x float64) float64 { return math.Round(x/3*1e9) / 1e9 }
	want := map[string]float64{"reward": third(5./4 - 0.5*3 + 2.75), "reward_exact": third(1.25), "reward_length": -0.5,
		"reward_format": third(2.75), "pass@1": third(0.25 + 0.75), "pass@2": third(0.5 + 1), "pass@4": third(2)}
	if diff := cmp.Diff(want, values); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"exact", "format"}, a.Checks); diff != "" {
		t.Error(diff)
	}
	if a := answered(got, 4, names, open("length=3"), 1); a.Passes != nil || a.Checks != nil {
		t.Errorf("without a check: %+v", a)
	}
	// One answer to each is right or wrong: the interval is Wilson's.
	for i := range got.Prompts {
		got.Prompts[i].Rewards = got.Prompts[i].Rewards[:1]
	}
	one := answered(got, 1, names, open("exact"), 1)
	if diff := cmp.Diff(eval.ShareOf([]bool{false, true, true}), one.Passes[0].Share); diff != "" {
		t.Error(diff)
	}
}
