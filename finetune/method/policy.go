package method

import (
	"math"
	"slices"

	"github.com/ggtune/ggtune/internal/setting"
)

// The settings of methods of Rollouts that several of them read.
var (
	epsilon = &setting.Setting{
		Name:  "epsilon",
		Usage: "how far below 1 the ratio of new to old probability may fall before it stops to count",
		Range: setting.Within(0, 1, "0 to 1"),
	}
	epsilonHigh = &setting.Setting{
		Name:  "epsilon-high",
		Usage: "how far above 1 the ratio may rise before it stops to count",
		Range: setting.AtLeast(0, "0 or more"),
	}
	maskTruncated = setting.Choice("mask-truncated-completions",
		"leave answers that did not end by themselves out of the loss", "no", "yes")
	missingEOSPenalty = &setting.Setting{
		Name:  "missing-eos-penalty",
		Usage: "what the reward of an answer that did not end by itself is lowered by",
		Range: setting.AtLeast(0, "0 or more"),
	}
	entropyCoef = &setting.Setting{
		Name:  "entropy-coef",
		Usage: "weight of the mean entropy, which is rewarded",
		Range: setting.AtLeast(0, "0 or more"),
	}
)

// steepest is where boundedExp leaves the exponential: a ratio of 10¹³ says no more than that a policy is lost, and two
// of them multiplied still leave gradients that single precision holds.
const steepest = 30

// boundedExp is eˣ and its derivative, and beyond steepest the tangent there.
func boundedExp(x float64) (y, slope float64) {
	if x <= steepest {
		y = math.Exp(x)
		return y, y
	}
	slope = math.Exp(steepest)
	return slope * (1 + x - steepest), slope
}

// k3 is Schulman's estimator of KL(π‖ref) by a sample of π (Schulman 2020, "Approximating KL Divergence"),
//
//	k3 = ref/π − 1 − log(ref/π),
//
// never negative, and its derivative by log π, 1 − ref/π.
func k3(logp, ref float64) (k, slope float64) {
	e, s := boundedExp(ref - logp)
	return e - 1 - (ref - logp), 1 - s
}

// A side says where a ratio left the clip range so that its token stopped to count.
type side uint8

const (
	inside side = iota
	below
	above
)

// clipped is the clipped surrogate of a ratio r under an advantage A (Schulman et al. 2017, "Proximal Policy
// Optimization Algorithms", section 3, with a range that need not be symmetric),
//
//	L = −min(r·A, clip(r, 1−low, 1+high)·A),
//
// and its derivative by r.
func clipped(r, advantage, low, high float64) (loss, slope float64, where side) {
	switch {
	case r < 1-low && advantage < 0:
		return -(1 - low) * advantage, 0, below
	case r > 1+high && advantage > 0:
		return -(1 + high) * advantage, 0, above
	}
	return -r * advantage, -advantage, inside
}

// policyFigures are what every update of a policy on a rollout shows. Means are over the answers' tokens.
type policyFigures struct {
	tokens, ratio, moved float64
	low, high            float64 // tokens clipped below and above
	kl, entropy          float64
}

// add counts the answer q, with the ratio of each of its tokens and what clipped said of it.
func (f *policyFigures) add(in *Inputs, q Sequence, ratios []float64, clips []side) {
	for t := range q.Len {
		i := q.Start + t
		f.tokens++
		f.ratio += ratios[t]
		d := in.LogP[i] - in.Old[i]
		f.moved += d * d / 2
		switch clips[t] {
		case below:
			f.low++
		case above:
			f.high++
		}
		if in.Ref != nil {
			k, _ := k3(in.LogP[i], in.Ref[i])
			r, _ := boundedExp(d)
			f.kl += r * k
		}
		if in.Entropy != nil {
			f.entropy += in.Entropy[i]
		}
	}
}

// metrics are: the mean ratio of new to old probability; approx_kl, how far the updates have moved the policy from the
// one that wrote the answers, ½(log π − log old)² in nats per token; the shares of tokens that stopped to count because
// their ratio was too low, too high, either; kl, the distance from the reference by the estimator k3 times the ratio,
// nats per token; the entropy, nats per token. The last two are there where the inputs have what they are made of.
func (f *policyFigures) metrics(in *Inputs) []Metric {
	out := []Metric{{"ratio", f.ratio, f.tokens}, {"approx_kl", f.moved, f.tokens}, {"clip_low", f.low, f.tokens},
		{"clip_high", f.high, f.tokens}, {"clip_frac", f.low + f.high, f.tokens}}
	if in.Ref != nil {
		out = append(out, Metric{"kl", f.kl, f.tokens})
	}
	if in.Entropy != nil {
		out = append(out, Metric{"entropy", f.entropy, f.tokens})
	}
	return out
}

// tokenwise is the clipped loss of each token by itself, less the entropy's share.
func tokenwise(in *Inputs, s setting.Values) (Result, error) {
	res := Result{Grad: make([]float64, len(in.LogP)), Units: float64(len(in.LogP))}
	c := s.Of(entropyCoef)
	res.GradEntropy = make([]float64, len(in.Entropy))
	var figures policyFigures
	for _, q := range in.Sequences {
		ratios, clips := make([]float64, q.Len), make([]side, q.Len)
		for t := range q.Len {
			i := q.Start + t
			r, byLogP := boundedExp(in.LogP[i] - in.Old[i])
			loss, byRatio, where := clipped(r, in.Advantage[i], s.Of(epsilon), s.Of(epsilonHigh))
			res.Sum += in.weight(i) * loss
			res.Grad[i] = in.weight(i) * byRatio * byLogP
			ratios[t], clips[t] = r, where
			if c > 0 {
				res.Sum -= c * in.Entropy[i]
				res.GradEntropy[i] = -c
			}
		}
		figures.add(in, q, ratios, clips)
	}
	res.Metrics = figures.metrics(in)
	return res, nil
}

// whiten divides numbers of tokens by their spread over all of them and, with shift, brings their mean to 0. It changes
// them in place.
func whiten(each [][]float64, shift bool) {
	mean, std := meanStd(slices.Concat(each...))
	scale := 1 / math.Sqrt(std*std+1e-8)
	for _, row := range each {
		for t, x := range row {
			row[t] = (x - mean) * scale
			if !shift {
				row[t] += mean
			}
		}
	}
}

// symmetric makes the upper clip the lower one where only that is given, as TRL does.
func (m *Method) symmetric(given setting.Values) {
	if given.Has(epsilon) && !given.Has(epsilonHigh) {
		m.set[epsilonHigh.Name] = m.set.Of(epsilon)
	}
}

// everyGroup says of each group that it has signal, where answers are not judged against each other.
func everyGroup(all []Answer) []bool {
	return slices.Repeat([]bool{true}, all[len(all)-1].Group+1)
}

// learned says whether an answer is learned from, whatever it was worth.
func learned(a *Answer, s setting.Values) bool { return a.Ended || s.Word(maskTruncated) == "no" }

// punished is an answer's reward, less what it is lowered by because it did not end.
func punished(a *Answer, s setting.Values) float64 {
	if a.Ended {
		return a.Reward
	}
	return a.Reward - s.Of(missingEOSPenalty)
}
