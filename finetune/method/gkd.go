package method

import (
	"math"

	"github.com/ggtune/ggtune/internal/setting"
)

// GKD is generalised knowledge distillation (Agarwal et al. 2024, "On-Policy Distillation of Language Models"): the
// student writes answers, and in the place of each of their tokens its prediction q is drawn to the teacher's p by the
// generalised Jensen–Shannon divergence (their equation 1; TRL's generalized_jsd_loss),
//
//	L = β·Σᵥ p·log(p/m) + (1−β)·Σᵥ q·log(q/m),  m = β·p + (1−β)·q,
//
// whose limits, divided by β and by 1−β, stand at its ends: at β = 0 the forward divergence Σ p·log(p/q), which covers
// all that the teacher may say, and at β = 1 the reverse one Σ q·log(q/p), which keeps the student to what the teacher
// finds likely. That is the default, as in MiniLLM (Gu et al. 2024) and TRL's DistillationTrainer; TRL's GKDTrainer has
// 0.5. How the answers were drawn gets no gradient: they are text.
//
// The sums go over the tokens that the teacher names, the answer's own among them, and all others together as one
// outcome, as those of distill do, which makes them lower bounds. Predictions are at the temperature at which answers
// are drawn, the paper's γ; TRL's GKDTrainer, unlike its DistillationTrainer, takes them at 1.
//
// The derivative by log q is −p at β = 0 and (1−β)·q·log(q/m) between; at β = 1 it is q·log(q/p), of
// Σ q·log(q/p) − q + p, which is the same number, for each of the two adds up to 1.
var GKD = register(&Method{
	Name:    "gkd",
	Doc:     "distillation on the model's own answers: a teacher's predictions of them (Agarwal et al. 2024)",
	Unit:    "token",
	Need:    Rollouts,
	Teacher: true,
	Usual:   Usual{Generations: 1, Least: 1, Iterations: 1, LR: 2e-4, LargeLR: 2e-4},
	Reads:   []setting.Use{beta.At(1).In(setting.Within(0, 1, "0 (forward divergence) to 1 (reverse)"))},
	Loss: func(in *Inputs, s setting.Values) (Result, error) {
		b := s.Of(beta)
		return taught(in, func(p, q prediction, grad []float64) float64 { return jensenShannon(p, q, b, grad) }), nil
	},
})

// leastRest is less than single precision tells from nothing of what a teacher leaves beside the tokens that it names.
const leastRest = 1.0 / (1 << 23)

// jensenShannon is the generalised divergence, or one of its ends, and enters its derivatives by log q into grad.
func jensenShannon(p, q prediction, b float64, grad []float64) (loss float64) {
	if b == 0 {
		return forward(p, q, grad)
	}
	for i := range grad {
		x, y := p.share[i], q.share[i]
		switch {
		case b == 1 && y > 0:
			logP := max(p.log[i], leastLog)
			if i == len(grad)-1 {
				logP = max(p.log[i], math.Log(leastRest))
			}
			grad[i] = y * (q.log[i] - logP)
			loss += grad[i] - y + x
		case b == 1:
			loss += x
		default:
			logM := math.Log(b*x + (1-b)*y)
			if x > 0 {
				loss += b * x * (p.log[i] - logM)
			}
			if y > 0 {
				grad[i] = (1 - b) * y * (q.log[i] - logM)
				loss += grad[i]
			}
		}
	}
	return loss
}
