package method

// CPO is contrastive preference optimisation, without a reference (Xu et al. 2024, "Contrastive Preference Optimization",
// equation 3 and the NLL regulariser after it):
//
//	L = −log σ(β log π(y_w) − β log π(y_l)) + α·NLL(y_w).
//
// α is rpo-alpha (TRL's cpo_alpha). NLL is the chosen answer's negative log-probability per token (see pairLoss.nll); the
// paper writes a sum, its code and TRL take a mean. label-smoothing is TRL's, as in cDPO.
//
// Reward: β·log π(y).
var CPO = register(&Method{
	Name:     "cpo",
	Doc:      "contrastive preference optimisation: a preference term and NLL, no reference (Xu et al. 2024)",
	Unit:     "pair",
	Need:     Pairs,
	Defaults: map[string]float64{"beta": 0.1, "label-smoothing": 0, "rpo-alpha": 1},
	Loss: overPairs(func(c, r answer, s *Settings) pairLoss {
		x, y := s.Beta*c.logp, s.Beta*r.logp
		loss, slope := logistic(x-y, 1-s.LabelSmoothing, s.LabelSmoothing)
		return pairLoss{loss: loss, chosen: s.Beta * slope, rejected: -s.Beta * slope, nll: s.RPOAlpha, chosenReward: x, rejectedReward: y}
	}),
})
