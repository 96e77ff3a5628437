package method

import (
	"math"
	"testing"
)

// A die is a policy over a few answers of one token each, by its logits.
type die []float64

func (d die) logp() []float64 { return logSoftmax(d) }

// byLogits takes a derivative by the log-probability of one outcome to those by the logits.
func (d die) byLogits(outcome int, slope float64) []float64 {
	out := make([]float64, len(d))
	for k, lp := range d.logp() {
		out[k] = -slope * math.Exp(lp)
	}
	out[outcome] += slope
	return out
}

// gradient is the mean of m's gradient by the logits of now over the answers of old, whose advantages are given.
func (d die) gradient(t *testing.T, m *Method, old, ref die, advantage func(outcome int) float64) []float64 {
	t.Helper()
	sum := make([]float64, len(d))
	for y, lp := range d.logp() {
		in := &Inputs{LogP: []float64{lp}, Ref: []float64{ref.logp()[y]}, Sequences: []Sequence{{Len: 1, Child: 1}},
			Rolled: Rolled{Old: []float64{old.logp()[y]}, Advantage: []float64{advantage(y)}, Longest: 1}}
		r, err := m.Evaluate(in)
		if err != nil {
			t.Fatal(err)
		}
		for k, g := range d.byLogits(y, r.Grad[0]) {
			sum[k] += math.Exp(old.logp()[y]) * g
		}
	}
	return sum
}

// slopes is the derivative of f by the logits.
func (d die) slopes(f func(die) float64) []float64 {
	const h = 1e-6
	out := make([]float64, len(d))
	for k := range d {
		up, down := append(die(nil), d...), append(die(nil), d...)
		up[k], down[k] = d[k]+h, d[k]-h
		out[k] = (f(up) - f(down)) / (2 * h)
	}
	return out
}

// TestCorrectedKL: over the answers that an older policy wrote, the pull of k3-corrected is the gradient of KL(π‖ref);
// that of plain k3 is another, even over the policy's own answers.
func TestCorrectedKL(t *testing.T) {
	now, old, ref := die{0.3, -1, 0.5}, die{0.1, -0.5, 0.9}, die{-0.7, 0.2, 0.4}
	want := now.slopes(func(d die) float64 {
		kl := 0.0
		for y, lp := range d.logp() {
			kl += math.Exp(lp) * (lp - ref.logp()[y])
		}
		return kl
	})
	none := func(int) float64 { return 0 }
	apart := 0.0
	plain := now.gradient(t, configured(t, "grpo", "beta 1, kl k3"), now, ref, none)
	for k, g := range now.gradient(t, configured(t, "grpo", "beta 1"), old, ref, none) {
		near(t, "k3-corrected", g, want[k], 1e-8)
		apart += math.Abs(plain[k] - want[k])
	}
	if apart < 0.1 {
		t.Errorf("the gradient of k3 is %v, as that of the divergence: the correction is not needed", plain)
	}
}

// TestPolicyGradient: over all groups of three answers that the policy may write, RLOO's gradient, and GRPO's without a
// divisor times 3/2, is that of the mean reward.
func TestPolicyGradient(t *testing.T) {
	const each = 3
	now, rewards := die{0.3, -1, 0.5}, []float64{1, -2, 4}
	want := now.slopes(func(d die) float64 {
		mean := 0.0
		for y, lp := range d.logp() {
			mean += math.Exp(lp) * rewards[y]
		}
		return mean
	})
	for _, tc := range []struct {
		method, settings string
		times            float64
	}{{"rloo", "beta 0", 1}, {"grpo", "scale-rewards none, loss-type dr-grpo", each / (each - 1.)}} {
		m := configured(t, tc.method, tc.settings)
		sum := make([]float64, len(now))
		lp := now.logp()
		for group := range int(math.Pow(float64(len(now)), each)) {
			probability, ys, all := 1.0, []int(nil), []Answer(nil)
			for range each {
				y := group % len(now)
				group /= len(now)
				ys, probability = append(ys, y), probability*math.Exp(lp[y])
				all = append(all, Answer{Reward: rewards[y], LogP: []float64{lp[y]}, Ended: true})
			}
			a, err := m.Credit(all, nil)
			if err != nil {
				t.Fatal(err)
			}
			in := &Inputs{}
			for i, y := range ys {
				in.Append(&Inputs{LogP: lp[y : y+1], Sequences: []Sequence{{Len: 1, Child: i + 1}},
					Rolled: Rolled{Old: lp[y : y+1], Advantage: a.Advantage[i], Longest: 1}})
			}
			r, err := m.Evaluate(in)
			if err != nil {
				t.Fatal(err)
			}
			for i, y := range ys {
				for k, g := range now.byLogits(y, r.Grad[i]/r.Units) {
					sum[k] -= probability * g * tc.times // the loss is to fall, the reward to rise
				}
			}
		}
		for k := range sum {
			near(t, tc.method, sum[k], want[k], 1e-8)
		}
	}
}
