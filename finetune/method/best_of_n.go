package method

import "github.com/ggtune/ggtune/internal/setting"

// BestOfN is rejection sampling, then SFT (Dong et al. 2023, "RAFT", algorithm 1; Touvron et al. 2023, "Llama 2",
// section 3.2.3): of a prompt's answers the one that is worth most is learned, as sft learns an answer that was given,
//
//	L = −Σ log p(yₜ | x, y₍<ₜ₎) over the best answers, divided over the step by the number of their tokens.
//
// An answer is worth its reward, less missing-eos-penalty if it did not end; the first of several that are worth as
// much is the best. A group of which none is better than another has no signal and is left out, where RAFT learns one
// of them: where rewards are 0 and 1 it may be a wrong one. Nothing is weighed by how likely the answers were, for
// nothing depends on it: they are text from here on.
var BestOfN = register(&Method{
	Name:       "best-of-n",
	Doc:        "rejection sampling, then SFT: of the answers to a prompt the best is learned (Dong et al. 2023)",
	Unit:       "token",
	Need:       Rollouts,
	Usual:      Usual{Generations: 8, Least: 2, Iterations: 1, LR: 2e-4, LargeLR: 2e-4},
	Reads:      []setting.Use{maskTruncated.Word("no"), missingEOSPenalty.At(0)},
	Loss:       crossEntropy,
	Advantages: bestOnly,
})

// bestOnly trains the best answer of each group that has signal, with an advantage of 1.
func bestOnly(all []Answer, _ []float64, s setting.Values) (Advantages, error) {
	out := Advantages{Trained: make([]bool, len(all))}
	each := make([]float64, len(all))
	groups(all, func(_, first, end int) {
		best, least := -1, punished(&all[first], s)
		for i := first; i < end; i++ {
			worth := punished(&all[i], s)
			least = min(least, worth)
			if learned(&all[i], s) && (best < 0 || worth > punished(&all[best], s)) {
				best = i
			}
		}
		signal := best >= 0 && punished(&all[best], s) > least
		if signal {
			each[best], out.Trained[best] = 1, true
		}
		out.Signal = append(out.Signal, signal)
	})
	out.Advantage = spread(all, each)
	out.Metrics = answersMetrics(all, out.Signal)
	return out, nil
}
