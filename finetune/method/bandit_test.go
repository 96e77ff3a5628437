package method

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestLearns lets every method of rollouts do the whole of what a run does with it, on a policy of four answers of one
// token: answers drawn, judged, credited, several updates along the gradient. The best answer, at first the least
// likely, is to be the likeliest.
func TestLearns(t *testing.T) {
	rewards := []float64{0, 0.2, 0.1, 1}
	for _, tc := range []struct{ method, settings string }{{"grpo", ""}, {"grpo", "loss-type grpo, beta 0.04"},
		{"grpo", "loss-type dr-grpo, scale-rewards none"}, {"grpo", "loss-type cispo"},
		{"grpo", "loss-type grpo, importance-sampling-level sequence"}, {"rloo", ""}, {"reinforce++", ""}, {"ppo", ""},
		{"ppo", "adaptive-kl-target 2"}, {"online-dpo", "beta 0.5"},
		{"best-of-n", ""}} {
		m := configured(t, tc.method, tc.settings)
		t.Run(tc.method+" "+tc.settings, func(t *testing.T) {
			g := rand.New(rand.NewPCG(11, 12))
			policy, ref := die{1, 0.5, 0.5, -1}, die{1, 0.5, 0.5, -1}
			value, carry := 0.0, []float64(nil)
			before := math.Exp(policy.logp()[3])
			for range 150 {
				old := append(die(nil), policy...)
				ys, all := old.rollout(g, ref, rewards, value)
				a, err := m.Credit(all, carry)
				if err != nil {
					t.Fatal(err)
				}
				carry = a.Carry
				for range 2 {
					in := policy.inputs(m, ys, all, &a, value)
					if len(in.LogP) == 0 {
						break // no group has signal
					}
					r, err := m.Evaluate(in)
					if err != nil {
						t.Fatal(err)
					}
					policy, value = policy.descend(m, in, ys, &a, &r, value)
				}
			}
			after := math.Exp(policy.logp()[3])
			if t.Logf("the best answer's probability: %.3f at first, %.3f at last", before, after); !(after > 0.5) {
				t.Error("it was not learned")
			}
		})
	}
}

// rollout draws three groups of four answers.
func (d die) rollout(g *rand.Rand, ref die, rewards []float64, value float64) (ys []int, all []Answer) {
	for i := range 12 {
		u, y := g.Float64(), 0
		for ; y < len(d)-1 && u > math.Exp(d.logp()[y]); y++ {
			u -= math.Exp(d.logp()[y])
		}
		ys = append(ys, y)
		all = append(all, Answer{Group: i / 4, Reward: rewards[y], LogP: d.logp()[y : y+1], Ref: ref.logp()[y : y+1],
			Value: []float64{value}, Ended: true})
	}
	return ys, all
}

// inputs are those of the answers that are learned from. The policy's entropy is that of each token.
func (d die) inputs(m *Method, ys []int, all []Answer, a *Advantages, value float64) *Inputs {
	in, entropy := &Inputs{}, 0.0
	for _, lp := range d.logp() {
		entropy -= math.Exp(lp) * lp
	}
	for i, y := range ys {
		if !a.Trained[i] {
			continue
		}
		more := &Inputs{LogP: d.logp()[y : y+1], Ref: all[i].Ref, Entropy: []float64{entropy}, Value: []float64{value},
			Sequences: []Sequence{{Len: 1, Example: all[i].Group, Child: i%4 + 1}},
			Rolled:    Rolled{Old: all[i].LogP, Advantage: a.Advantage[i], OldValue: all[i].Value, Longest: 1}}
		if a.Return != nil {
			more.Return = a.Return[i]
		}
		in.Append(more.suited(m))
	}
	return in
}

// descend takes a step along the gradients by the log-probabilities and the values.
func (d die) descend(m *Method, in *Inputs, ys []int, a *Advantages, r *Result, value float64) (die, float64) {
	const rate = 0.3
	next, k := append(die(nil), d...), 0
	for i, y := range ys {
		if !a.Trained[i] {
			continue
		}
		for j, g := range d.byLogits(y, r.Grad[k]/r.Units) {
			next[j] -= rate * g
		}
		if m.Value == AtTokens {
			value -= rate * r.GradValue[k] / r.Units
		}
		k++
	}
	return next, value
}
