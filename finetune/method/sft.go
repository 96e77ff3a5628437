package method

import "github.com/ggtune/ggtune/internal/setting"

// SFT is supervised fine-tuning: the cross-entropy of the counted tokens,
//
//	L = −Σ log p(xₜ | x₍<ₜ₎), divided over the step by the number of counted tokens.
//
// Every token weighs the same whatever its example's length (Radford et al. 2018, "Improving Language Understanding by
// Generative Pre-Training", equation 1, restricted to the answer's tokens).
var SFT = register(&Method{
	Name: "sft",
	Doc:  "supervised fine-tuning: cross-entropy of the answers' tokens",
	Unit: "token",
	Loss: crossEntropy,
	// The chosen answer's negative log-probability per token, as TRL's loss_type "sft" in a mixture (see pairLoss.nll).
	OverPairs: &Method{
		Name: "sft",
		Unit: "pair",
		Need: Pairs,
		Loss: chosenOnly,
	},
})

// chosenOnly has no rewards to report: the other methods' are shown.
func chosenOnly(in *Inputs, s setting.Values) (Result, error) {
	r, err := overPairs(func(answer, answer, setting.Values) pairLoss { return pairLoss{nll: 1} })(in, s)
	r.Metrics = answerMetrics(in, "chosen", "rejected", chosenOf)
	return r, err
}

func crossEntropy(in *Inputs, _ setting.Values) (Result, error) {
	r := Result{Units: float64(len(in.LogP)), Grad: make([]float64, len(in.LogP))}
	for i, lp := range in.LogP {
		r.Sum -= lp
		r.Grad[i] = -1
	}
	return r, nil
}
