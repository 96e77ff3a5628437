package method

import (
	"fmt"
	"math"
)

// Truncated gives importance weights for what another engine sampled than the one that trains, whose log-probabilities
// of the same tokens differ by their rounding: min(most, old/sampler) of each token (truncated importance sampling,
// Ionides 2008, "Truncated Importance Sampling"; Yao et al. 2025, "Your Efficient RL Framework Secretly
// Brings You Off-Policy RL Training"; TRL's token_truncate). sampler has the sampler's own, by answer and token.
//
// Figures: mismatch, the mean of |log old/sampler|, nats per token, and mismatch_max, its largest; ess, the effective
// sample size (Σw)²/Σw² of the weights before they are capped, as a share of the tokens (Kong 1992), and capped, the
// share of the tokens whose weight is.
func Truncated(all []Answer, sampler [][]float64, most float64) (weights [][]float64, figures []Metric, err error) {
	if len(sampler) != len(all) {
		return nil, nil, fmt.Errorf("sampler's log-probabilities of %d answers, expected %d", len(sampler), len(all))
	}
	var n, apart, largest, sum, squares, capped float64
	for i, a := range all {
		if len(sampler[i]) != len(a.LogP) {
			return nil, nil, fmt.Errorf("sampler's log-probabilities of %d tokens of answer %d, expected %d",
				len(sampler[i]), i+1, len(a.LogP))
		}
		w := make([]float64, len(a.LogP))
		for t, old := range a.LogP {
			d := old - sampler[i][t]
			raw, _ := boundedExp(d)
			w[t] = math.Min(most, raw)
			if raw > most {
				capped++
			}
			n++
			apart += math.Abs(d)
			largest = math.Max(largest, math.Abs(d))
			sum, squares = sum+raw, squares+raw*raw
		}
		weights = append(weights, w)
	}
	return weights, []Metric{{"mismatch", apart, n}, {"mismatch_max", largest, 1},
		{"ess", sum * sum / squares, n}, {"capped", capped, n}}, nil
}
