package method

import "github.com/ggtune/ggtune/internal/setting"

// ReinforcePP is REINFORCE++ (Hu et al. 2025, "REINFORCE++: Stabilizing Critic-Free Policy Optimization with Global
// Advantage Normalization", arXiv 2501.03262, its form for any number of answers to a prompt): PPO without values. A
// token's advantage is what follows it,
//
//	Aₜ = R − β·Σ_{i ≥ t} kᵢ,  kᵢ = log old/ref of token i,
//
// less its mean over all tokens of the rollout, by its spread there, and the loss is PPO's clipped one,
//
//	L = −min(r·A, clip(r, 1−ε, 1+ε_high)·A),  the mean over tokens,
//
// times the capped importance weight of what another engine sampled. The spread is that of a sample, under a root with
// 10⁻⁸ added, as OpenRLHF and TRL's PPO take it. Answers need no group: one to a prompt will do.
var ReinforcePP = register(&Method{
	Name:  "reinforce++",
	Doc:   "REINFORCE with advantages normalised over the rollout, and PPO's clip (Hu et al. 2025)",
	Unit:  "token",
	Need:  Rollouts,
	Usual: Usual{Generations: 1, Least: 1, Iterations: 1, LR: 5e-5, LargeLR: 1e-5},
	Reads: []setting.Use{beta.At(0.01).In(setting.AtLeast(0, "0 or more")), epsilon.At(clipLow),
		epsilonHigh.At(clipLow), maskTruncated.Word("no"), missingEOSPenalty.At(0), entropyCoef.At(0)},
	Loss:       tokenwise,
	Advantages: normalisedReturns,
	follow: func(m *Method, given setting.Values) error {
		m.symmetric(given)
		m.Reference, m.Entropy = m.set.Of(beta) > 0, m.set.Of(entropyCoef) > 0
		return nil
	},
})

func normalisedReturns(all []Answer, _ []float64, s setting.Values) (Advantages, error) {
	out := Advantages{Signal: everyGroup(all)}
	for i := range all {
		a := &all[i]
		each := make([]float64, len(a.LogP))
		toCome := punished(a, s)
		for t := len(each) - 1; t >= 0; t-- {
			if a.Ref != nil {
				toCome -= s.Of(beta) * (a.LogP[t] - a.Ref[t])
			}
			each[t] = toCome
		}
		out.Advantage = append(out.Advantage, each)
		out.Trained = append(out.Trained, learned(a, s))
	}
	whiten(out.Advantage, true)
	out.Metrics = answersMetrics(all, nil)
	return out, nil
}
