package method

import "github.com/ggtune/ggtune/internal/setting"

// APODown is anchored preference optimisation for chosen answers that are worse than the model's own (D'Oosterlinck et
// al. 2024, equation 8):
//
//	L = σ(r_w) + 1 − σ(r_w − r_l),  r = β·log π(y)/ref(y),
//
// which lowers both answers, the rejected one more. Reward: r.
var APODown = register(&Method{
	Name: "apo-down",
	Doc: "anchored preference optimisation: lower both answers, the rejected one more (D'Oosterlinck et al. " +
		"2024)",
	Unit:      "pair",
	Need:      Pairs,
	Reference: true,
	Reads:     []setting.Use{beta.At(0.1)},
	Loss: overPairs(func(c, r answer, s setting.Values) pairLoss {
		b := s.Of(beta)
		x, y := b*c.ratio, b*r.ratio
		apart := bell(x - y)
		return pairLoss{loss: sigmoid(x) + sigmoid(y-x), chosen: b * (bell(x) - apart), rejected: b * apart,
			chosenReward: x, rejectedReward: y}
	}),
})
