package method

import (
	"math"

	"github.com/ggtune/ggtune/internal/setting"
)

// ORPO is odds ratio preference optimisation, without a reference (Hong et al. 2024, equations 3 to 7):
//
//	L = NLL(y_w) − β·log σ(log odds(y_w) − log odds(y_l)),  odds(y) = p/(1−p),  p = exp(1/|y|·log π(y)).
//
// beta is the paper's λ, under TRL's name. NLL is the chosen answer's own, per token (see pairLoss.nll); TRL counts the
// prompt's tokens there too, here a prompt is not trained.
//
// Reward: β times the mean log-probability per token.
var ORPO = register(&Method{
	Name:  "orpo",
	Doc:   "odds ratio preference optimisation: NLL and an odds ratio, no reference (Hong et al. 2024)",
	Unit:  "pair",
	Need:  Pairs,
	Reads: []setting.Use{beta.At(0.1)},
	Loss: overPairs(func(c, r answer, s setting.Values) pairLoss {
		b := s.Of(beta)
		x, y := c.logp/c.n, r.logp/r.n
		oc, dc := logOdds(x)
		or, dr := logOdds(y)
		loss, slope := logistic(oc-or, b, 0)
		return pairLoss{loss: loss, chosen: slope * dc / c.n, rejected: -slope * dr / r.n, nll: 1, chosenReward: b * x,
			rejectedReward: b * y}
	}),
})

// certain is the log-probability from which logOdds goes on along its tangent: the odds of a certain answer are
// infinite, and log-probabilities come in float32, which cannot tell p from 1 below about 1e-7 and may even round past
// it.
const certain = -1e-6

// logOdds is log(p/(1−p)) and its derivative by log p.
func logOdds(logp float64) (odds, slope float64) {
	x := math.Min(logp, certain)
	q := -math.Expm1(x) // 1−p
	return x - math.Log(q) + (logp-x)/q, 1 / q
}
