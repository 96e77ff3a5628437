package method

// SimPO is simple preference optimisation, without a reference (Meng et al. 2024, equation 6):
//
//	L = −log σ(β/|y_w|·log π(y_w) − β/|y_l|·log π(y_l) − γ).
//
// gamma is the paper's γ, the margin in rewards, and TRL's simpo_gamma; the gamma_beta_ratio of the authors' code is γ/β, 0.5
// with the defaults here. label-smoothing is TRL's, as in cDPO. TRL runs SimPO inside its CPO trainer, which adds CPO's NLL
// unless cpo_alpha is 0; here that is the mixture simpo,sft.
//
// Reward: β times the mean log-probability per token.
var SimPO = register(&Method{
	Name:     "simpo",
	Doc:      "simple preference optimisation: mean log-probability and a margin, no reference (Meng et al. 2024)",
	Unit:     "pair",
	Need:     Pairs,
	Defaults: map[string]float64{"beta": 2, "gamma": 1, "label-smoothing": 0},
	Loss: overPairs(func(c, r answer, s *Settings) pairLoss {
		x, y := s.Beta*c.logp/c.n, s.Beta*r.logp/r.n
		loss, slope := logistic(x-y-s.Gamma, 1-s.LabelSmoothing, s.LabelSmoothing)
		return pairLoss{loss: loss, chosen: s.Beta * slope / c.n, rejected: -s.Beta * slope / r.n, chosenReward: x, rejectedReward: y}
	}),
})
