package method

import (
	"fmt"

	"github.com/ggtune/ggtune/internal/setting"
)

// OnlineDPO is DPO on pairs that the model wrote itself (Guo et al. 2024, "Direct Language Model Alignment from Online
// AI Feedback"): of a prompt's answers the one that is worth most is chosen and the one that is worth least is
// rejected, and the loss is DPO's, with its settings. With two answers to a prompt that is the paper's, and TRL's
// OnlineDPOTrainer.
//
// An answer is worth its reward, less missing-eos-penalty if it did not end (TRL's too). A group whose answers are
// worth the same has no signal and is left out, where TRL takes the first of them for chosen. The other answers are not
// learned from. Where a rollout has several updates, the pairs stay what they were.
var OnlineDPO = register(&Method{
	Name:      "online-dpo",
	Doc:       "DPO on the best and the worst of the answers that the model writes to a prompt (Guo et al. 2024)",
	Unit:      "pair",
	Need:      Rollouts,
	Usual:     Usual{Generations: 2, Least: 2, Iterations: 1, LR: 5e-5, LargeLR: 1e-5},
	Reference: true,
	Reads: []setting.Use{beta.At(0.1), labelSmoothing.At(0), rpoAlpha.At(0), ldAlpha.At(1), maskTruncated.Word("no"),
		missingEOSPenalty.At(0)},
	Loss: func(in *Inputs, s setting.Values) (Result, error) {
		judged, err := byAdvantage(in)
		if err != nil {
			return Result{}, err
		}
		return DPO.Loss(judged, s)
	},
	Advantages: bestAndWorst,
})

// bestAndWorst gives them the advantages 1 and −1, and trains no other answer.
func bestAndWorst(all []Answer, _ []float64, s setting.Values) (Advantages, error) {
	var out Advantages
	each := make([]float64, len(all))
	out.Trained = make([]bool, len(all))
	groups(all, func(_, first, end int) {
		best, worst := -1, -1
		for i := first; i < end; i++ {
			if !learned(&all[i], s) {
				continue
			}
			if best < 0 || punished(&all[i], s) > punished(&all[best], s) {
				best = i
			}
			if worst < 0 || punished(&all[i], s) < punished(&all[worst], s) {
				worst = i
			}
		}
		signal := best != worst
		if signal {
			each[best], each[worst] = 1, -1
			out.Trained[best], out.Trained[worst] = true, true
		}
		out.Signal = append(out.Signal, signal)
	})
	out.Advantage = spread(all, each)
	out.Metrics = answersMetrics(all, out.Signal)
	return out, nil
}

// byAdvantage puts the better answer of each two that belong together first, as DPO's chosen one.
func byAdvantage(in *Inputs) (*Inputs, error) {
	c, q := *in, in.Sequences
	c.Sequences = nil
	for i := 0; i < len(q); i += 2 {
		if i+1 == len(q) || q[i].Example != q[i+1].Example {
			return nil, fmt.Errorf("example %d: expected the best and the worst answer next to each other",
				q[i].Example)
		}
		a, b := q[i], q[i+1]
		if in.Advantage[a.Start] < in.Advantage[b.Start] {
			a, b = b, a
		}
		a.Child, b.Child = 1, 2
		c.Sequences = append(c.Sequences, a, b)
	}
	return &c, nil
}
