package method

// APOZero is anchored preference optimisation for chosen answers that are better than the model's own (D'Oosterlinck et al.
// 2024, "Anchored Preference Optimization and Contrastive Revisions", equation 7):
//
//	L = 1 − σ(r_w) + σ(r_l),  r = β·log π(y)/ref(y),
//
// which raises the chosen answer and lowers the rejected one, each against the reference. Reward: r.
var APOZero = register(&Method{
	Name:      "apo-zero",
	Doc:       "anchored preference optimisation: raise the chosen answer, lower the rejected one (D'Oosterlinck et al. 2024)",
	Unit:      "pair",
	Need:      Pairs,
	Reference: true,
	Defaults:  map[string]float64{"beta": 0.1},
	Loss: overPairs(func(c, r answer, s *Settings) pairLoss {
		x, y := s.Beta*c.ratio, s.Beta*r.ratio
		return pairLoss{loss: sigmoid(-x) + sigmoid(y), chosen: -s.Beta * bell(x), rejected: s.Beta * bell(y), chosenReward: x, rejectedReward: y}
	}),
})
