package method

import "github.com/ggtune/ggtune/internal/setting"

// CPO is contrastive preference optimisation, without a reference (Xu et al. 2024, "Contrastive Preference
// Optimization", equation 3 and the NLL regulariser after it):
//
//	L = −log σ(β log π(y_w) − β log π(y_l)) + α·NLL(y_w).
//
// α is rpo-alpha (TRL's cpo_alpha). NLL is the chosen answer's negative log-probability per token (see pairLoss.nll);
// the paper writes a sum, its code and TRL take a mean. label-smoothing is TRL's, as in cDPO.
//
// Reward: β·log π(y).
var CPO = register(&Method{
	Name:  "cpo",
	Doc:   "contrastive preference optimisation: a preference term and NLL, no reference (Xu et al. 2024)",
	Unit:  "pair",
	Need:  Pairs,
	Reads: []setting.Use{beta.At(0.1), labelSmoothing.At(0), rpoAlpha.At(1)},
	Loss: overPairs(func(c, r answer, s setting.Values) pairLoss {
		b := s.Of(beta)
		x, y := b*c.logp, b*r.logp
		loss, slope := logistic(x-y, 1-s.Of(labelSmoothing), s.Of(labelSmoothing))
		return pairLoss{loss: loss, chosen: b * slope, rejected: -b * slope, nll: s.Of(rpoAlpha), chosenReward: x,
			rejectedReward: y}
	}),
})
