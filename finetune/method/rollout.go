package method

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Rolled is what is known of each counted token of a rollout's answers before the first update on them, of methods that
// are rewarded. All of it is constant to the gradient.
type Rolled struct {
	// Old is the log-probability under the policy that wrote the answer, as the training engine computes it, nats.
	// Where a rollout has a single update, that is LogP itself.
	Old []float64
	// Advantage is that of Advantages.
	Advantage []float64
	// Weight is the importance weight of what another engine sampled (see Truncated); nil: 1.
	Weight []float64
	// OldValue and Return are, of methods with values, the value before the first update and what it should have been.
	OldValue, Return []float64
	// Longest is the most tokens that an answer may have.
	Longest int
}

func (r *Rolled) append(more *Rolled) {
	r.Old, r.Advantage = append(r.Old, more.Old...), append(r.Advantage, more.Advantage...)
	r.Weight = append(r.Weight, more.Weight...)
	r.OldValue, r.Return = append(r.OldValue, more.OldValue...), append(r.Return, more.Return...)
	r.Longest = more.Longest
}

// weight is a token's importance weight.
func (r *Rolled) weight(token int) float64 {
	if r.Weight == nil {
		return 1
	}
	return r.Weight[token]
}

// checkRolled refuses inputs without what is known of a rollout's tokens.
func (m *Method) checkRolled(in *Inputs) error {
	n, values := len(in.LogP), len(in.Value)
	if len(in.Old) != n || len(in.Advantage) != n || in.Weight != nil && len(in.Weight) != n ||
		len(in.OldValue) != values || len(in.Return) != values || in.Longest < 1 {
		return fmt.Errorf("method %s: of %d tokens in answers of at most %d there are %d old log-probabilities, %d "+
			"advantages, %d weights, and for %d values %d old ones and %d returns", m.Name, n, in.Longest, len(in.Old),
			len(in.Advantage), len(in.Weight), values, len(in.OldValue), len(in.Return))
	}
	return nil
}

// An Answer is one that the policy wrote in a rollout. Its log-probabilities, and values, are those of its counted
// tokens, in their order.
type Answer struct {
	Group  int     // the prompt's number in the rollout, from 0; the answers of a group are neighbours
	Reward float64 // of the whole answer
	LogP   []float64
	Ref    []float64 // of the reference; nil unless the method needs it
	Value  []float64 // what was expected before each token; nil unless the method needs it
	Ended  bool      // by its own end token, not because it was as long as an answer may be
}

// drift is the sum of log π/ref over the answer: an estimate of KL(π‖ref), nats per answer; 0 without a reference.
func (a *Answer) drift() float64 {
	sum := 0.0
	for t, ref := range a.Ref {
		sum += a.LogP[t] - ref
	}
	return sum
}

// Advantages are what the answers of a rollout were worth, by answer and token.
type Advantages struct {
	Advantage [][]float64
	Return    [][]float64 // what each value should have been; nil unless the method has values
	// Trained is false of an answer that no update would learn from, or that is not to be learned from: it needs no
	// row.
	Trained []bool
	// Signal says of each group whether its answers differ in what they were worth.
	Signal []bool
	// Carry is for the next rollout. A run that goes on from a checkpoint needs it.
	Carry   []float64
	Metrics []Metric // of the rollout, in a fixed order; none is among those of Loss
}

// Credit says what each token of a rollout's answers was worth. carry is Advantages.Carry of the last rollout, nil
// before the first.
func (m *Method) Credit(all []Answer, carry []float64) (Advantages, error) {
	if err := m.checkAnswers(all); err != nil {
		return Advantages{}, fmt.Errorf("method %s: %w", m.Name, err)
	}
	a, err := m.Advantages(all, carry, m.set)
	if err != nil {
		return a, fmt.Errorf("method %s: %w", m.Name, err)
	}
	for i := range all {
		lists := [][]float64{a.Advantage[i]}
		if a.Return != nil {
			lists = append(lists, a.Return[i])
		}
		for _, list := range lists {
			if t := slices.IndexFunc(list, func(x float64) bool { return x-x != 0 }); t >= 0 {
				return a, fmt.Errorf("method %s: token %d of answer %d was worth %g, which is no number; its reward "+
					"is %g", m.Name, t+1, i+1, list[t], all[i].Reward)
			}
		}
	}
	return a, nil
}

// Stop says that an update of a rollout, with these figures, is to be its last. What it says follows from them alone,
// so that a run that goes on from a checkpoint stops where it would have.
func (m *Method) Stop(figures []Metric) bool { return m.Enough != nil && m.Enough(figures, m.set) }

func (m *Method) checkAnswers(all []Answer) error {
	if len(all) == 0 {
		return errors.New("a rollout without answers")
	}
	group := 0
	for i, a := range all {
		if a.Group == group+1 && i > 0 {
			group++
		}
		n := len(a.LogP)
		switch {
		case a.Group != group:
			return fmt.Errorf("answer %d is of group %d behind one of group %d", i+1, a.Group, group)
		case math.IsNaN(a.Reward) || math.IsInf(a.Reward, 0):
			return fmt.Errorf("the reward of answer %d of group %d is %g", i+1, a.Group, a.Reward)
		case n == 0 || m.Reference && len(a.Ref) != n || m.Value == AtTokens && len(a.Value) != n:
			return fmt.Errorf("answer %d has %d log-probabilities, %d of the reference and %d values", i+1, n,
				len(a.Ref), len(a.Value))
		}
	}
	return nil
}

// groups calls f with each group's number and its answers' places, from first to below end.
func groups(all []Answer, f func(group, first, end int)) {
	for first := 0; first < len(all); {
		end := first + 1
		for end < len(all) && all[end].Group == all[first].Group {
			end++
		}
		f(all[first].Group, first, end)
		first = end
	}
}

// spread gives each token of an answer the same number.
func spread(all []Answer, each []float64) [][]float64 {
	out := make([][]float64, len(all))
	for i, a := range all {
		out[i] = make([]float64, len(a.LogP))
		for t := range out[i] {
			out[i][t] = each[i]
		}
	}
	return out
}

// meanStd is the mean and the standard deviation of a sample (with Bessel's correction), 0 of a single number.
func meanStd(x []float64) (mean, std float64) {
	for _, v := range x {
		mean += v
	}
	mean /= float64(len(x))
	for _, v := range x {
		std += (v - mean) * (v - mean)
	}
	if len(x) < 2 {
		return mean, 0
	}
	return mean, math.Sqrt(std / float64(len(x)-1))
}

// differ says whether numbers are not all one.
func differ(x []float64) bool {
	for _, v := range x {
		if v != x[0] {
			return true
		}
	}
	return false
}

// answersMetrics are the figures of a rollout's answers, whatever the method: their rewards as they were given; their
// length, tokens; the share that ended by themselves; with a reference the distance from it, log π/ref summed over an
// answer, nats. Where answers are judged against others of their group, also how far the rewards lie apart within one
// (reward_std), and the share of groups with signal; signal is nil where they are not.
func answersMetrics(all []Answer, signal []bool) []Metric {
	n := float64(len(all))
	reward, length, ended := Metric{"reward", 0, n}, Metric{"answer_len", 0, n}, Metric{"ended", 0, n}
	drift := Metric{"answer_kl", 0, 0}
	for i := range all {
		a := &all[i]
		reward.Sum += a.Reward
		length.Sum += float64(len(a.LogP))
		if a.Ended {
			ended.Sum++
		}
		if a.Ref != nil {
			drift.Sum += a.drift()
			drift.Weight++
		}
	}
	out := []Metric{reward, length, ended}
	if signal != nil {
		out = append(out, groupMetrics(all, signal)...)
	}
	if drift.Weight > 0 {
		out = append(out, drift)
	}
	return out
}

func groupMetrics(all []Answer, signal []bool) []Metric {
	n := float64(len(signal))
	std, with := Metric{"reward_std", 0, n}, Metric{"signal", 0, n}
	groups(all, func(group, first, end int) {
		given := make([]float64, 0, end-first)
		for _, a := range all[first:end] {
			given = append(given, a.Reward)
		}
		_, s := meanStd(given)
		std.Sum += s
		if signal[group] {
			with.Sum++
		}
	})
	return []Metric{std, with}
}
