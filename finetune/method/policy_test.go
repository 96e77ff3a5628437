package method

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestReinforcePPAdvantages holds the advantages to their definition: what follows a token, normalised over all tokens.
func TestReinforcePPAdvantages(t *testing.T) {
	all := []Answer{
		{Reward: 1, LogP: []float64{-1, -2}, Ref: []float64{-1.5, -1}, Ended: true},
		{Group: 1, Reward: -2, LogP: []float64{-3}, Ref: []float64{-1}, Ended: false},
	}
	m := configured(t, "reinforce++", "beta 0.5, missing-eos-penalty 0.25")
	a, err := m.Credit(all, nil)
	if err != nil {
		t.Fatal(err)
	}
	// k is 0.5 and −1, and of the other answer −2
	raw := []float64{1 - 0.5*(0.5-1), 1 - 0.5*-1, -2.25 - 0.5*-2}
	mean := (raw[0] + raw[1] + raw[2]) / 3
	variance := 0.0
	for _, x := range raw {
		variance += (x - mean) * (x - mean) / 2
	}
	of := func(x float64) float64 { return (x - mean) / math.Sqrt(variance+1e-8) }
	want := [][]float64{{of(raw[0]), of(raw[1])}, {of(raw[2])}}
	if d := cmp.Diff(a.Advantage, want, cmpopts.EquateApprox(0, 1e-12)); d != "" {
		t.Errorf("got − want +:\n%s", d)
	}
}

// TestGAE holds PPO's advantages to the sum that they are: Aₜ = Σ (γλ)ˡ·δₜ₊ₗ.
func TestGAE(t *testing.T) {
	m := configured(t, "ppo", "kl-coef 0, discount 0.9, lam 0.7, missing-eos-penalty 0")
	all := []Answer{{Reward: 2, LogP: []float64{-1, -1, -1}, Value: []float64{0.5, -1, 0.25}},
		{Reward: -1, LogP: []float64{-1}, Value: []float64{1}}}
	a, err := m.Credit(all, nil)
	if err != nil {
		t.Fatal(err)
	}
	deltas := [][]float64{{0.9*-1 - 0.5, 0.9*0.25 + 1, 2 - 0.25}, {-1 - 1}}
	for i, row := range deltas {
		for at := range row {
			sum := 0.0
			for l := at; l < len(row); l++ {
				sum += math.Pow(0.9*0.7, float64(l-at)) * row[l]
			}
			near(t, "return", a.Return[i][at], sum+all[i].Value[at], 1e-12)
		}
	}
	mean, std := meanStd([]float64{a.Advantage[0][0], a.Advantage[0][1], a.Advantage[0][2], a.Advantage[1][0]})
	near(t, "mean", mean, 0, 1e-12)
	near(t, "spread", std, 1, 1e-7)
	given := []float64{a.Return[0][0], a.Return[0][1], a.Return[0][2], a.Return[1][0]}
	_, whole := meanStd(given)
	_, rest := meanStd([]float64{given[0] - 0.5, given[1] + 1, given[2] - 0.25, given[3] - 1})
	near(t, "explained variance", shown(a.Metrics, "explained_variance"), 1-rest*rest/whole/whole, 1e-12)
}

// TestAdaptiveKL: the coefficient rises where the policy is further from the reference than it may be and falls where
// it is nearer, by no more than a fifth a horizon; it goes on from what was carried.
func TestAdaptiveKL(t *testing.T) {
	// log π/ref of an answer is 0.25
	for settings, want := range map[string]float64{
		"adaptive-kl-target 0.01, adaptive-kl-horizon 2":  0.1 * 1.2,
		"adaptive-kl-target 9, adaptive-kl-horizon 2":     0.1 * 0.8,
		"adaptive-kl-target 0.225, adaptive-kl-horizon 4": 0.1 * (1 + (0.25/0.225-1)/2),
	} {
		m := configured(t, "ppo", "kl-coef 0.1, "+settings)
		first, err := m.Credit(ended(1, 2), nil)
		if err != nil {
			t.Fatal(err)
		}
		near(t, settings, first.Carry[0], want, 1e-12)
		near(t, settings+", shown", shown(first.Metrics, "kl_coef"), 0.1, 0)
		second, err := m.Credit(ended(1, 2), first.Carry)
		if err != nil {
			t.Fatal(err)
		}
		near(t, settings+", again", second.Carry[0], want*want/0.1, 1e-12)
		near(t, settings+", reward lowered by", second.Return[0][1], 1-want*-0.25, 1e-12)
	}
	m := configured(t, "ppo", "")
	if a, err := m.Credit(ended(1, 2), nil); err != nil || a.Carry != nil {
		t.Errorf("a fixed coefficient is carried: %v, %v", a.Carry, err)
	}
	if _, err := m.Credit(ended(1, 2), []float64{1, 2}); err == nil {
		t.Error("what another method carried: accepted")
	}
	_, err := PPO.Configure(worded(t, PPO, "kl-coef 0, adaptive-kl-target 6"))
	if err == nil || !strings.Contains(err.Error(), "which no factor changes") {
		t.Errorf("a coefficient that stays 0: %v", err)
	}
}

// TestCreditIsFinite: a value that is no number is found before anything is learned from it.
func TestCreditIsFinite(t *testing.T) {
	all := ended(1, 2)
	all[1].Value[1] = math.NaN()
	_, err := PPO.Credit(all, nil)
	if err == nil || !strings.Contains(err.Error(), "which is no number") {
		t.Errorf("got %v", err)
	}
}

// TestStop: updates end where one has moved the policy too far, and only then.
func TestStop(t *testing.T) {
	far := []Metric{{"approx_kl", 3, 100}}
	for settings, want := range map[string]bool{"": false, "early-stop-kl 0.02": true, "early-stop-kl 0.03": false} {
		if got := configured(t, "ppo", settings).Stop(far); got != want {
			t.Errorf("%q: got %t", settings, got)
		}
	}
	if GRPO.Stop(far) {
		t.Error("grpo stops")
	}
}

// TestRLOOWeights: at the first update a token's part of the gradient is weighed by how much likelier the trainer finds
// it than the sampler did.
func TestRLOOWeights(t *testing.T) {
	in := &Inputs{LogP: []float64{-1, -2}, Ref: []float64{-1, -2},
		Sequences: []Sequence{{Len: 2, Child: 1}},
		Rolled:    Rolled{Old: []float64{-1, -2}, Advantage: []float64{3, 3}, Weight: []float64{0.5, 2}, Longest: 2}}
	r, err := RLOO.Evaluate(in)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(r.Grad, []float64{-1.5, -6}); d != "" || r.Sum != -3 || r.Units != 1 {
		t.Errorf("loss %g of %g, gradient, got − want +:\n%s", r.Sum, r.Units, d)
	}
}

// TestSymmetric: the upper clip is the lower one unless it is given, except grpo's.
func TestSymmetric(t *testing.T) {
	for settings, high := range map[string]float64{"": 0.2, "epsilon 0.3": 0.3, "epsilon 0.3, epsilon-high 0.4": 0.4} {
		for _, name := range []string{"rloo", "reinforce++", "ppo"} {
			if got := configured(t, name, settings).set.Of(epsilonHigh); got != high {
				t.Errorf("%s %q: upper clip %g, want %g", name, settings, got, high)
			}
		}
	}
}

// TestFirstUpdate: where the policy is still the one that wrote the answers, every ratio is 1, nothing is clipped, and
// the gradient is that of the policy gradient theorem, −A at each token.
func TestFirstUpdate(t *testing.T) {
	for _, name := range []string{"grpo", "reinforce++", "ppo", "rloo"} {
		m := configured(t, name, "")
		in := twoAnswers(m)
		r, err := m.Evaluate(in)
		if err != nil {
			t.Fatal(err)
		}
		for i, g := range r.Grad {
			near(t, name, g, -in.Advantage[i], 1e-12)
		}
		for figure, want := range map[string]float64{"ratio": 1, "approx_kl": 0, "clip_frac": 0} {
			near(t, name+" "+figure, shown(r.Metrics, figure), want, 1e-12)
		}
	}
}

func twoAnswers(m *Method) *Inputs {
	in := &Inputs{LogP: []float64{-1, -2, -0.5}, Ref: []float64{-1, -2, -0.5}, Entropy: []float64{0, 1, 0.5},
		Value:     []float64{1, 2, 3},
		Sequences: []Sequence{{Len: 2, Child: 1}, {Start: 2, Len: 1, Child: 2}}}
	in.Rolled = Rolled{Old: in.LogP, Advantage: []float64{2, 2, -3}, OldValue: in.Value, Return: in.Value, Longest: 2}
	return in.suited(m)
}

// TestBestOfN: of the answers that may be learned from the best is, if it is better than another, and its loss is that
// of sft.
func TestBestOfN(t *testing.T) {
	all := []Answer{{Reward: 2, Ended: true}, {Reward: 9}, {Reward: 1, Ended: true}, {Reward: 2, Ended: true},
		{Group: 1, Reward: 1, Ended: true}, {Group: 1, Reward: 1, Ended: true},
		{Group: 2, Reward: 0, Ended: true}, {Group: 2, Reward: 1}, {Group: 3, Reward: 2}, {Group: 3, Reward: 1}}
	for i := range all {
		all[i].LogP = []float64{-1 - float64(i), -1}
	}
	for settings, want := range map[string][]float64{
		"":                               {0, 1, 0, 0, 0, 0, 0, 1, 1, 0},
		"missing-eos-penalty 8":          {1, 0, 0, 0, 0, 0, 1, 0, 1, 0},
		"mask-truncated-completions yes": {1, 0, 0, 0, 0, 0, 0, 0, 0, 0},
	} {
		a, err := configured(t, "best-of-n", settings).Credit(all, nil)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(a.Advantage, spread(all, want)); d != "" {
			t.Errorf("%q: advantages, got − want +:\n%s", settings, d)
		}
		signal := make([]bool, 4)
		for i, x := range want {
			if a.Trained[i] != (x != 0) {
				t.Errorf("%q: answer %d is trained: %t", settings, i, a.Trained[i])
			}
			signal[all[i].Group] = signal[all[i].Group] || x != 0
		}
		if d := cmp.Diff(a.Signal, signal); d != "" {
			t.Errorf("%q: signal, got − want +:\n%s", settings, d)
		}
	}
	in := twoAnswers(BestOfN)
	got, err := BestOfN.Evaluate(in)
	if err != nil {
		t.Fatal(err)
	}
	want, err := SFT.Evaluate(&Inputs{LogP: in.LogP, Sequences: in.Sequences})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("loss, got − want +:\n%s", d)
	}
}

// TestOnlineDPO: the best and the worst answer that may be learned from are the pair, whatever their order, and its
// loss is that of dpo.
func TestOnlineDPO(t *testing.T) {
	all := []Answer{{Reward: 2, Ended: true}, {Reward: 9}, {Reward: 1, Ended: true}, {Reward: -1, Ended: true},
		{Group: 1, Reward: 1, Ended: true}, {Group: 1, Reward: 1, Ended: true}}
	for i := range all {
		all[i].LogP, all[i].Ref = []float64{-1 - float64(i)}, []float64{-2}
	}
	for settings, want := range map[string][]float64{
		"":                               {0, 1, 0, -1, 0, 0},
		"missing-eos-penalty 11":         {1, -1, 0, 0, 0, 0},
		"mask-truncated-completions yes": {1, 0, 0, -1, 0, 0},
	} {
		a, err := configured(t, "online-dpo", settings).Credit(all, nil)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(a.Advantage, spread(all, want)); d != "" {
			t.Errorf("%q: advantages, got − want +:\n%s", settings, d)
		}
		for i, x := range want {
			if a.Trained[i] != (x != 0) {
				t.Errorf("%q: answer %d is trained: %t", settings, i, a.Trained[i])
			}
		}
		if !a.Signal[0] || a.Signal[1] {
			t.Errorf("%q: signal %v", settings, a.Signal)
		}
	}
	in := twoAnswers(OnlineDPO)
	in.Ref = []float64{-1.5, -2, -1}
	in.Advantage = []float64{-1, -1, 1}
	got, err := OnlineDPO.Evaluate(in)
	if err != nil {
		t.Fatal(err)
	}
	want, err := DPO.Evaluate(pairOf(in.LogP[2:], in.LogP[:2], in.Ref[2:], in.Ref[:2]))
	if err != nil {
		t.Fatal(err)
	}
	near(t, "loss", got.Sum, want.Sum, 1e-12)
	near(t, "gradient by the chosen", got.Grad[2], want.Grad[0], 1e-12)
	near(t, "gradient by the rejected", got.Grad[0], want.Grad[1], 1e-12)
	near(t, "accuracy", shown(got.Metrics, "accuracy"), shown(want.Metrics, "accuracy"), 0)
	in.Sequences[1].Example = 1
	if _, err := OnlineDPO.Evaluate(in); err == nil || !strings.Contains(err.Error(), "next to each other") {
		t.Errorf("answers of two prompts: %v", err)
	}
}
