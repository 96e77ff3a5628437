package method

import (
	"fmt"

	"github.com/ggtune/ggtune/internal/setting"
)

// An answer is one of a pair's two, as a method sees it. Log-probabilities are sums over the answer's tokens, in nats.
type answer struct {
	logp  float64 // of the model in training; with a setting ld-alpha, weighed by it (see discount)
	ratio float64 // logp less the reference's own, weighed alike; 0 without a reference
	n     float64 // tokens
}

// A pairLoss is what a method says of one pair.
type pairLoss struct {
	loss float64
	// chosen and rejected are the derivatives of loss by the answers' logp (or ratio: the reference is a constant).
	chosen, rejected float64
	// nll is the weight of the chosen answer's negative log-probability per token, which is added to loss.
	//
	// It is each pair's own mean, as in RPO (Pang et al. 2024, "Iterative Reasoning Preference Optimization", equation
	// 1), so that a pair's loss does not depend on its neighbours. TRL takes one mean over all chosen tokens of the
	// micro-batch, where a long answer outweighs a short one and the split into micro-batches changes the loss; the two
	// agree where the chosen answers of a micro-batch are equally long.
	nll float64
	// chosenReward and rejectedReward are the implicit rewards, for the figures.
	chosenReward, rejectedReward float64
}

// overPairs makes the loss of a method that judges each pair by itself: the sum over the pairs, with the figures that
// every such method reports.
func overPairs(judge func(c, r answer, s setting.Values) pairLoss) func(*Inputs, setting.Values) (Result, error) {
	return func(in *Inputs, s setting.Values) (Result, error) {
		res := Result{Grad: make([]float64, len(in.LogP))}
		var chosenReward, rejectedReward, accuracy float64
		err := eachTwo(in, func(c, r Sequence) {
			shared := min(c.Len, r.Len)
			cw, rw := discount(c, shared, s), discount(r, shared, s)
			a, b := in.answer(c, cw), in.answer(r, rw)
			v := judge(a, b, s)
			for t := range c.Len {
				lp := in.LogP[c.Start+t]
				res.Grad[c.Start+t] = v.chosen*cw(t) - v.nll/a.n
				v.loss -= v.nll / a.n * lp
			}
			for t := range r.Len {
				res.Grad[r.Start+t] = v.rejected * rw(t)
			}
			res.Sum += v.loss
			res.Units++
			chosenReward += v.chosenReward
			rejectedReward += v.rejectedReward
			accuracy += greater(v.chosenReward, v.rejectedReward)
		})
		res.Metrics = append([]Metric{
			{"chosen_reward", chosenReward, res.Units},
			{"rejected_reward", rejectedReward, res.Units},
			{"margin", chosenReward - rejectedReward, res.Units},
			{"accuracy", accuracy, res.Units},
		}, answerMetrics(in, "chosen", "rejected", chosenOf)...)
		return res, err
	}
}

// eachTwo calls f with the two sequences of each example, Child 1 and Child 2.
func eachTwo(in *Inputs, f func(first, second Sequence)) error {
	q := in.Sequences
	for i := 0; i < len(q); i += 2 {
		if i+1 == len(q) || q[i].Child != 1 || q[i+1].Child != 2 || q[i].Example != q[i+1].Example {
			return fmt.Errorf("example %d: expected its two answers, as children 1 and 2 next to each other",
				q[i].Example)
		}
		f(q[i], q[i+1])
	}
	return nil
}

// discount gives the weight of an answer's token t: 1 within the length that both answers of the pair share, and
// --ld-alpha beyond it (Liu et al. 2024, "Length Desensitization in Direct Preference Optimization", arXiv 2409.06411:
// the likelihood of the excess is raised to the power α), for both models' log-probabilities, as TRL's ld_alpha since
// version 1; TRL 0.24 spared the reference and measured the shared length from the row's beginning. 1 throughout for a
// method without that setting.
func discount(q Sequence, shared int, s setting.Values) func(t int) float64 {
	if !s.Has(ldAlpha) {
		return plain
	}
	beyond := s.Of(ldAlpha)
	return func(t int) float64 {
		if t < shared {
			return 1
		}
		return beyond
	}
}

func (in *Inputs) answer(q Sequence, weight func(t int) float64) answer {
	a := answer{n: float64(q.Len)}
	for t := range q.Len {
		lp := in.LogP[q.Start+t]
		a.logp += weight(t) * lp
		if in.Ref != nil {
			a.ratio += weight(t) * (lp - in.Ref[q.Start+t])
		}
	}
	return a
}

// greater is 1 if x is above y and 0 if below. A tie is half a hit: a model that is still equal to its reference knows
// nothing of the preference, as a coin does, and must show 0.5, not 0 (as TRL does, whose accuracy then seems to rise
// by half in the first step).
func greater(x, y float64) float64 {
	switch {
	case x > y:
		return 1
	case x == y:
		return 0.5
	}
	return 0
}

// chosenOf says that a sequence is a pair's chosen answer, or its rejected one.
func chosenOf(q Sequence) (first, counts bool) { return q.Child == 1, true }

// answerMetrics are the figures of two classes of answers, whatever the method: log-probability per token of either
// class (nats), with a reference the distance from it, and the answers' mean lengths (tokens). class says which of the
// two a sequence belongs to, and whether it counts at all.
//
// The distance, kl, is the mean over the counted tokens of ½(log π − log ref)², the estimator k2 of Schulman 2020
// ("Approximating KL Divergence"), in nats per token. Where the answers are samples of either model it is the KL
// divergence between them, in both directions, to second order in the log-ratio; it is never negative, and 0 only where
// the two models agree on every token. The answers of a dataset are samples of neither model: it then says how far the
// model has moved on the data's own answers, not KL(π‖ref) over what the model would write itself. Schulman's k1 and k3
// are unbiased only for samples of the model, and k3's exponential would let one token that the reference finds
// unlikely rule the mean.
func answerMetrics(in *Inputs, first, second string, class func(q Sequence) (isFirst, counts bool)) []Metric {
	var logp, tokens, answers [2]float64
	var kl float64
	for _, q := range in.Sequences {
		isFirst, counts := class(q)
		if !counts {
			continue
		}
		k := 1
		if isFirst {
			k = 0
		}
		answers[k]++
		tokens[k] += float64(q.Len)
		for t := q.Start; t < q.Start+q.Len; t++ {
			logp[k] += in.LogP[t]
			if in.Ref != nil {
				d := in.LogP[t] - in.Ref[t]
				kl += d * d / 2
			}
		}
	}
	out := []Metric{{first + "_logp", logp[0], tokens[0]}, {second + "_logp", logp[1], tokens[1]}}
	if in.Ref != nil {
		out = append(out, Metric{"kl", kl, tokens[0] + tokens[1]})
	}
	return append(out, Metric{first + "_len", tokens[0], answers[0]}, Metric{second + "_len", tokens[1], answers[1]})
}
