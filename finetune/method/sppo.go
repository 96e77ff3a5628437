package method

import "github.com/ggtune/ggtune/internal/setting"

// SPPO is self-play preference optimisation with hard labels (Wu et al. 2024, "Self-Play Preference Optimization for
// Language Model Alignment", equation 4.7 with P = 1 for the chosen and 0 for the rejected answer, as TRL's sppo_hard):
//
//	L = (log π(y_w)/ref(y_w) − 1/(2β))² + (log π(y_l)/ref(y_l) + 1/(2β))².
//
// beta is 1/η of the paper, which trains with 0.001 on the model's own answers; the default is TRL's. Reward:
// β·log π(y)/ref(y), whose targets are then ½ and −½.
var SPPO = register(&Method{
	Name:      "sppo",
	Doc:       "self-play preference optimisation with hard labels: log-ratios towards ±1/(2·beta) (Wu et al. 2024)",
	Unit:      "pair",
	Need:      Pairs,
	Reference: true,
	Reads:     []setting.Use{beta.At(0.1)},
	Loss: overPairs(func(c, r answer, s setting.Values) pairLoss {
		b := s.Of(beta)
		x, y := c.ratio-0.5/b, r.ratio+0.5/b
		return pairLoss{loss: x*x + y*y, chosen: 2 * x, rejected: 2 * y, chosenReward: b * c.ratio,
			rejectedReward: b * r.ratio}
	}),
})
