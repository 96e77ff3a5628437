package method

import "github.com/ggtune/ggtune/internal/setting"

// APOZero is anchored preference optimisation for chosen answers that are better than the model's own (D'Oosterlinck et
// al. 2024, "Anchored Preference Optimization and Contrastive Revisions", equation 7):
//
//	L = 1 − σ(r_w) + σ(r_l),  r = β·log π(y)/ref(y),
//
// which raises the chosen answer and lowers the rejected one, each against the reference. Reward: r.
var APOZero = register(&Method{
	Name: "apo-zero",
	Doc: "anchored preference optimisation: raise the chosen answer, lower the rejected one (D'Oosterlinck et " +
		"al. 2024)",
	Unit:      "pair",
	Need:      Pairs,
	Reference: true,
	Reads:     []setting.Use{beta.At(0.1)},
	Loss: overPairs(func(c, r answer, s setting.Values) pairLoss {
		b := s.Of(beta)
		x, y := b*c.ratio, b*r.ratio
		return pairLoss{loss: sigmoid(-x) + sigmoid(y), chosen: -b * bell(x), rejected: b * bell(y), chosenReward: x,
			rejectedReward: y}
	}),
})
