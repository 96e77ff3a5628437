package method

import "github.com/ggtune/ggtune/internal/setting"

var normalizeAdvantages = setting.Choice("normalize-advantages",
	"shift and divide the advantages of a rollout to mean 0 and spread 1", "no", "yes")

// RLOO is REINFORCE with the other answers as the baseline (Kool et al. 2019, "Buy 4 REINFORCE Samples, Get a Baseline
// for Free!"; Ahmadian et al. 2024, "Back to Basics"): an answer i of the G to one prompt is worth
//
//	Wᵢ = Rᵢ − β·log old(yᵢ)/ref(yᵢ),  and has the advantage  Aᵢ = Wᵢ − mean of the other Wⱼ,
//
// normalize-advantages: less their mean over the rollout, by their spread + 10⁻⁴. The whole answer is one action, with
// one ratio, clipped as in PPO so that a rollout may have several updates (as in TRL; at the first it is 1, and the
// gradient is −A·∇log π):
//
//	L = −min(r·A, clip(r, 1−ε, 1+ε_high)·A),  r = exp(Σ w·log π/old).
//
// w, the importance weight of what another engine sampled, weighs each token's part of the gradient; it is 1 where
// sampler and trainer agree (TRL's trainer has none). Of a group whose answers are worth the same, and of answers that
// are masked, see GRPO. The mean is over answers.
var RLOO = register(&Method{
	Name:  "rloo",
	Doc:   "REINFORCE, each answer against the mean of the others to its prompt (Ahmadian et al. 2024)",
	Unit:  "answer",
	Need:  Rollouts,
	Usual: Usual{Generations: 4, Least: 2, Iterations: 1, LR: 5e-5, LargeLR: 1e-5},
	Reads: []setting.Use{beta.At(0.05).In(setting.AtLeast(0, "0 or more")), epsilon.At(clipLow),
		epsilonHigh.At(clipLow), normalizeAdvantages.Word("no"), maskTruncated.Word("no"), missingEOSPenalty.At(0)},
	Loss:       leaveOneOutLoss,
	Advantages: leaveOneOut,
	follow: func(m *Method, given setting.Values) error {
		m.symmetric(given)
		m.Reference = m.set.Of(beta) > 0
		return nil
	},
})

func leaveOneOut(all []Answer, _ []float64, s setting.Values) (Advantages, error) {
	worth := make([]float64, len(all))
	for i := range all {
		worth[i] = punished(&all[i], s) - s.Of(beta)*all[i].drift()
	}
	var out Advantages
	each := make([]float64, len(all))
	groups(all, func(_, first, end int) {
		sum := 0.0
		for _, w := range worth[first:end] {
			sum += w
		}
		signal := differ(worth[first:end])
		for i := first; signal && i < end; i++ {
			each[i] = worth[i] - (sum-worth[i])/float64(end-first-1)
		}
		out.Signal = append(out.Signal, signal)
	})
	if mean, std := meanStd(each); s.Word(normalizeAdvantages) == "yes" {
		for i := range each {
			each[i] = (each[i] - mean) / (std + spreadFloor)
		}
	}
	for i := range all {
		out.Trained = append(out.Trained, out.Signal[all[i].Group] && learned(&all[i], s))
	}
	out.Advantage = spread(all, each)
	out.Metrics = answersMetrics(all, out.Signal)
	return out, nil
}

func leaveOneOutLoss(in *Inputs, s setting.Values) (Result, error) {
	res := Result{Grad: make([]float64, len(in.LogP))}
	var figures policyFigures
	for _, q := range in.Sequences {
		sum := 0.0
		for i := q.Start; i < q.Start+q.Len; i++ {
			sum += in.weight(i) * (in.LogP[i] - in.Old[i])
		}
		r, bySum := boundedExp(sum)
		loss, byRatio, where := clipped(r, in.Advantage[q.Start], s.Of(epsilon), s.Of(epsilonHigh))
		res.Sum += loss
		res.Units++
		ratios, clips := make([]float64, q.Len), make([]side, q.Len)
		for t := range q.Len {
			res.Grad[q.Start+t] = byRatio * bySum * in.weight(q.Start+t)
			ratios[t], clips[t] = r, where
		}
		figures.add(in, q, ratios, clips)
	}
	res.Metrics = figures.metrics(in)
	return res, nil
}
