package method

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ggtune/ggtune/internal/setting"
)

// variants are settings of methods of Rollouts, as --name value, whose mathematics is another.
var variants = []struct{ method, settings string }{
	{"grpo", "loss-type grpo, beta 0.1"},
	{"grpo", "loss-type dr-grpo, beta 0.1, kl k3"},
	{"grpo", "loss-type cispo, epsilon-high 1.1, beta 0.2"},
	{"grpo", "loss-type cispo, importance-sampling-level sequence, epsilon-high 1.1"},
	{"grpo", "importance-sampling-level sequence, beta 0.3, entropy-coef 0.1"},
	{"grpo", "kl k1-in-reward, beta 0.2"},
	{"rloo", "normalize-advantages yes"},
	{"reinforce++", "entropy-coef 0.1, beta 0"},
	{"ppo", "entropy-coef 0.1, kl-estimator k3, whiten-rewards yes, lam 0.5, discount 0.9"},
	{"ppo", "adaptive-kl-target 2, mask-truncated-completions yes"},
}

// worded reads settings.
func worded(t *testing.T, m *Method, text string) setting.Values {
	t.Helper()
	v := setting.Values{}
	for one := range strings.SplitSeq(text, ", ") {
		name, value, _ := strings.Cut(one, " ")
		for _, u := range m.Reads {
			if u.Setting.Name == name {
				x, err := u.Setting.Parse(value)
				if err != nil {
					t.Fatal(err)
				}
				v[name] = x
			}
		}
		if _, known := v[name]; !known && text != "" {
			t.Fatalf("%s does not read %s", m.Name, name)
		}
	}
	return v
}

func configured(t *testing.T, name, settings string) *Method {
	t.Helper()
	m, err := methods.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	if m, err = m.Configure(worded(t, m, settings)); err != nil {
		t.Fatal(err)
	}
	return m
}

// randomAnswers draws groups of answers of several lengths.
func randomAnswers(g *rand.Rand, groups, each int) (all []Answer) {
	for group := range groups {
		for range each {
			a := Answer{Group: group, Reward: g.NormFloat64(), Ended: g.IntN(3) > 0}
			for range 1 + g.IntN(5) {
				lp := -4 * g.Float64()
				a.LogP, a.Ref = append(a.LogP, lp), append(a.Ref, lp+0.3*g.NormFloat64())
				a.Value = append(a.Value, g.NormFloat64())
			}
			all = append(all, a)
		}
	}
	return all
}

// ended are answers of two tokens each, with rewards, in groups of two.
func ended(rewards ...float64) (all []Answer) {
	for i, r := range rewards {
		all = append(all, Answer{Group: i / 2, Reward: r, LogP: []float64{-1, -2}, Ref: []float64{-1.5, -1.75},
			Value: []float64{0, 0}, Ended: true})
	}
	return all
}

// TestCredit: every method of Rollouts gives a number for each token, of any rollout, and does not write into it.
func TestCredit(t *testing.T) {
	for _, m := range allMethods(t) {
		if !m.Rewarded() {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			for name, all := range map[string][]Answer{
				"some":        randomAnswers(rand.New(rand.NewPCG(5, 6)), 3, 4),
				"one answer":  randomAnswers(rand.New(rand.NewPCG(5, 6)), 1, 1),
				"one a group": randomAnswers(rand.New(rand.NewPCG(5, 6)), 4, 1),
				"all alike":   ended(0.1, 0.1, 0.1, 0.1),
				"far apart":   ended(-1e9, 1e9),
			} {
				before := append([]Answer(nil), all...)
				a, err := m.Credit(all, nil)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if d := cmp.Diff(before, all); d != "" {
					t.Errorf("%s: the method wrote into the answers:\n%s", name, d)
				}
				mustBeWhole(t, name, m, all, &a)
			}
		})
	}
}

func mustBeWhole(t *testing.T, name string, m *Method, all []Answer, a *Advantages) {
	t.Helper()
	last := all[len(all)-1].Group
	if len(a.Advantage) != len(all) || len(a.Trained) != len(all) || len(a.Signal) != last+1 ||
		(m.Value == AtTokens) != (len(a.Return) == len(all)) {
		t.Fatalf("%s: incomplete: %+v", name, a)
	}
	for i := range all {
		if len(a.Advantage[i]) != len(all[i].LogP) || m.Value == AtTokens && len(a.Return[i]) != len(all[i].LogP) {
			t.Errorf("%s, answer %d: %d advantages for %d tokens", name, i, len(a.Advantage[i]), len(all[i].LogP))
		}
	}
	seen := map[string]bool{}
	for _, f := range a.Metrics {
		if seen[f.Name] || math.IsNaN(f.Sum) || math.IsInf(f.Sum, 0) || !(f.Weight > 0) {
			t.Errorf("%s: figure %+v", name, f)
		}
		seen[f.Name] = true
	}
}

func TestCreditRefuses(t *testing.T) {
	for want, spoil := range map[string]func(all []Answer) []Answer{
		"without answers":            func([]Answer) []Answer { return nil },
		"the reward of answer 2":     func(all []Answer) []Answer { all[1].Reward = math.NaN(); return all },
		"0 log-probabilities":        func(all []Answer) []Answer { all[2].LogP = nil; return all },
		"1 of the reference":         func(all []Answer) []Answer { all[2].Ref = all[2].Ref[:1]; return all },
		"group 3 behind one":         func(all []Answer) []Answer { all[3].Group = 3; return all },
		"answer 4 is of group 0 beh": func(all []Answer) []Answer { all[3].Group = 0; return all },
		"answer 1 is of group 1":     func(all []Answer) []Answer { return all[2:] },
	} {
		m := configured(t, "grpo", "beta 0.1")
		if _, err := m.Credit(spoil(ended(1, 2, 3, 4)), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestGRPOAdvantages(t *testing.T) {
	for _, tc := range []struct {
		name, settings string
		all            []Answer
		want           []float64
		trained        []bool
		signal         []bool
	}{
		{"by the group", "", ended(1, 3, 5, 5), []float64{-1 / (math.Sqrt2 + 1e-4), 1 / (math.Sqrt2 + 1e-4), 0, 0},
			[]bool{true, true, false, false}, []bool{true, false}},
		{"by the rollout", "scale-rewards batch", ended(0, 2, 2, 4),
			[]float64{-1 / (math.Sqrt(8./3) + 1e-4), 1 / (math.Sqrt(8./3) + 1e-4), -1 / (math.Sqrt(8./3) + 1e-4),
				1 / (math.Sqrt(8./3) + 1e-4)}, []bool{true, true, true, true}, []bool{true, true}},
		{"by nothing", "scale-rewards none", ended(0, 2), []float64{-1, 1}, []bool{true, true}, []bool{true}},
		{"pulled to the reference", "beta 0.1", ended(0.1, 0.1), []float64{0, 0}, []bool{true, true}, []bool{false}},
		{"kept open", "entropy-coef 0.1", ended(1, 1), []float64{0, 0}, []bool{true, true}, []bool{false}},
		{"pulled in the reward", "beta 0.5, kl k1-in-reward, scale-rewards none",
			func() []Answer { a := ended(1, 1); a[1].Ref = []float64{-1, -4}; return a }(),
			// log π/ref is 0.25 and 2
			[]float64{0.4375, -0.4375}, []bool{true, true}, []bool{true}},
		{"cut off", "mask-truncated-completions yes, scale-rewards none",
			func() []Answer { a := ended(1, 3); a[1].Ended = false; return a }(),
			[]float64{-1, 1}, []bool{true, false}, []bool{true}},
		{"cut off and punished", "missing-eos-penalty 1, scale-rewards none",
			func() []Answer { a := ended(1, 3); a[1].Ended = false; return a }(),
			[]float64{-0.5, 0.5}, []bool{true, true}, []bool{true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, err := GRPO.Configure(worded(t, GRPO, tc.settings))
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.Credit(tc.all, nil)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(got.Advantage, spread(tc.all, tc.want), cmpopts.EquateApprox(0, 1e-12)); d != "" {
				t.Errorf("advantages, got − want +:\n%s", d)
			}
			if d := cmp.Diff([][]bool{got.Trained, got.Signal}, [][]bool{tc.trained, tc.signal}); d != "" {
				t.Errorf("trained and signal, got − want +:\n%s", d)
			}
		})
	}
}

// TestGRPOFollows: what follows from settings does.
func TestGRPOFollows(t *testing.T) {
	for _, tc := range []struct {
		settings  string
		low, high float64
		unit      string
		reference bool
	}{
		{"", 0.2, 0.28, "token", false},
		{"beta 0.04, loss-type grpo", 0.2, 0.28, "answer", true},
		{"importance-sampling-level sequence", 3e-4, 4e-4, "token", false},
		{"importance-sampling-level sequence, epsilon 0.1", 0.1, 4e-4, "token", false},
		{"loss-type cispo", 0.2, 5, "token", false},
		{"entropy-coef 0.01", 0.2, 0.28, "token", false},
		{"loss-type cispo, epsilon-high 3", 0.2, 3, "token", false},
	} {
		m := configured(t, "grpo", tc.settings)
		if m.set.Of(epsilon) != tc.low || m.set.Of(epsilonHigh) != tc.high || m.Unit != tc.unit ||
			m.Reference != tc.reference || m.Entropy != strings.Contains(tc.settings, "entropy") {
			t.Errorf("%q: clip %g and %g, unit %s, reference %t; want %+v", tc.settings, m.set.Of(epsilon),
				m.set.Of(epsilonHigh), m.Unit, m.Reference, tc)
		}
	}
	if _, err := GRPO.Configure(worded(t, GRPO, "loss-type cispo, epsilon 0.1")); err == nil ||
		!strings.Contains(err.Error(), "no lower bound") {
		t.Errorf("a lower bound that nobody reads: %v", err)
	}
	if GRPO.set.Of(epsilonHigh) != clipHigh || GRPO.Reference {
		t.Error("the registered method was changed")
	}
}

// TestUsual: every method of Rollouts says how it is usually run.
func TestUsual(t *testing.T) {
	for _, m := range methods.All() {
		u := m.Usual
		if m.Need == Rollouts && !(u.Least >= 1 && u.Generations >= u.Least && u.Iterations >= 1 && u.LR > 0 &&
			u.LargeLR > 0 && u.LargeLR <= u.LR) {
			t.Errorf("%s: %+v", m.Name, u)
		}
	}
}

// TestTruncated: weights are capped, and the figures are those of the uncapped ones.
func TestTruncated(t *testing.T) {
	all := []Answer{{LogP: []float64{-1, -2}}, {LogP: []float64{-3}}}
	ln := math.Log
	w, figures, err := Truncated(all, [][]float64{{-1, -2 - ln(4)}, {-3 - ln(0.5)}}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(w, [][]float64{{1, 2}, {0.5}}, cmpopts.EquateApprox(0, 1e-12)); d != "" {
		t.Errorf("weights, got − want +:\n%s", d)
	}
	want := []Metric{{"mismatch", ln(4) + ln(2), 3}, {"mismatch_max", ln(4), 1}, {"ess", 5.5 * 5.5 / 17.25, 3},
		{"capped", 1, 3}}
	if d := cmp.Diff(figures, want, cmpopts.EquateApprox(0, 1e-12)); d != "" {
		t.Errorf("figures, got − want +:\n%s", d)
	}
	for _, bad := range [][][]float64{{{-1, -2}}, {{-1}, {-3}}} {
		if _, _, err := Truncated(all, bad, 2); err == nil {
			t.Errorf("%v: accepted", bad)
		}
	}
}
