package method

import "github.com/ggtune/ggtune/internal/setting"

// IPO is identity preference optimisation (Azar et al. 2023, "A General Theoretical Paradigm to Understand Learning
// from Human Preferences", equation 17, whose τ is beta):
//
//	L = (h − 1/(2β))²,  h = 1/|y_w|·log π(y_w)/ref(y_w) − 1/|y_l|·log π(y_l)/ref(y_l).
//
// The paper's h has sums where this has means over the tokens. That is TRL's form, which it says the paper's authors
// confirmed to be the one behind their results; without it, beta would mean another thing for every length.
//
// Reward: β times the mean log-ratio, which is what the loss compares (TRL shows the sum's).
var IPO = register(&Method{
	Name:      "ipo",
	Doc:       "identity preference optimisation, a bounded margin per token (Azar et al. 2023)",
	Unit:      "pair",
	Need:      Pairs,
	Reference: true,
	Reads:     []setting.Use{beta.At(0.1)},
	Loss: overPairs(func(c, r answer, s setting.Values) pairLoss {
		b := s.Of(beta)
		x, y := c.ratio/c.n, r.ratio/r.n
		off := x - y - 1/(2*b)
		return pairLoss{loss: off * off, chosen: 2 * off / c.n, rejected: -2 * off / r.n,
			chosenReward: b * x, rejectedReward: b * y}
	}),
})
