package method

import (
	"math"

	"github.com/ggtune/ggtune/internal/setting"
)

// DFT is dynamic fine-tuning: the cross-entropy of each counted token, weighed by the probability that the model gives
// it,
//
//	L = −Σ sg(p(xₜ | x₍<ₜ₎))·log p(xₜ | x₍<ₜ₎), sg: taken as a constant,
//
// divided over the step by the number of counted tokens (Wu et al. 2025, "On the Generalization of SFT: A Reinforcement
// Learning Perspective with Reward Rectification"; TRL's loss_type "dft"). What the model holds for unlikely
// pulls less. The loss itself rises while a token becomes likelier, up to a probability of 1/e: held-out rows are
// measured by cross-entropy, and nll is that of the trained ones.
var DFT = register(&Method{
	Name:     "dft",
	Doc:      "sft with each token weighed by its probability: what is unlikely pulls less",
	Unit:     "token",
	Loss:     weighedCrossEntropy,
	Constant: probabilities,
	Measure:  SFT,
})

// probabilities are those of the tokens. One is at most 1, where rounding has it above.
func probabilities(in *Inputs, _ setting.Values) []float64 {
	p := make([]float64, len(in.LogP))
	for i, lp := range in.LogP {
		p[i] = math.Exp(min(lp, 0))
	}
	return p
}

func weighedCrossEntropy(in *Inputs, _ setting.Values) (Result, error) {
	n := float64(len(in.LogP))
	r := Result{Units: n, Grad: make([]float64, len(in.LogP))}
	nll := Metric{Name: "nll", Weight: n}
	for i, lp := range in.LogP {
		r.Sum -= in.Constant[i] * lp
		r.Grad[i] = -in.Constant[i]
		nll.Sum -= lp
	}
	r.Metrics = []Metric{nll}
	return r, nil
}
