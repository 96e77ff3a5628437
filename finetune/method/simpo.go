package method

import "github.com/ggtune/ggtune/internal/setting"

var gamma = &setting.Setting{
	Name:  "gamma",
	Usage: "margin that the chosen answer must have",
	Range: setting.AtLeast(0, "0 or more"),
}

// SimPO is simple preference optimisation, without a reference (Meng et al. 2024, equation 6):
//
//	L = −log σ(β/|y_w|·log π(y_w) − β/|y_l|·log π(y_l) − γ).
//
// gamma is the paper's γ, the margin in rewards, and TRL's simpo_gamma; the gamma_beta_ratio of the authors' code is
// γ/β, 0.5 with the defaults here. label-smoothing is TRL's, as in cDPO. TRL runs SimPO inside its CPO trainer, which
// adds CPO's NLL unless cpo_alpha is 0; here that is the mixture simpo,sft.
//
// Reward: β times the mean log-probability per token.
var SimPO = register(&Method{
	Name:  "simpo",
	Doc:   "simple preference optimisation: mean log-probability and a margin, no reference (Meng et al. 2024)",
	Unit:  "pair",
	Need:  Pairs,
	Reads: []setting.Use{beta.At(2), gamma.At(1), labelSmoothing.At(0)},
	Loss: overPairs(func(c, r answer, s setting.Values) pairLoss {
		b := s.Of(beta)
		x, y := b*c.logp/c.n, b*r.logp/r.n
		loss, slope := logistic(x-y-s.Of(gamma), 1-s.Of(labelSmoothing), s.Of(labelSmoothing))
		return pairLoss{loss: loss, chosen: b * slope / c.n, rejected: -b * slope / r.n, chosenReward: x,
			rejectedReward: y}
	}),
})
