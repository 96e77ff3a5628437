package method

import "github.com/ggtune/ggtune/internal/setting"

// Reward is a model of rewards, or a reranker trained on pairs: Bradley and Terry's (1952) of what people prefer, with
// the scores r of a linear head at the answers' ends (Ouyang et al. 2022, "InstructGPT", section 3.5),
//
//	L = −log σ(r_w − r_l − margin·m) + center·(r_w + r_l)²
//
// where m is by how much the data scores the better answer above the worse (Touvron et al. 2023, "Llama 2", section
// 3.2.2; TRL reads margin·m from a column), and the second term holds the scores, of which the first knows differences
// alone, near 0 (Eisenstein et al. 2023, "Helping or Herding?", equation 2; TRL's center_rewards_coefficient, which is
// off there unless it is given). A ranked list of answers weighs as much as a pair, 1/pairs each: its pairs share
// answers, and by themselves they overfit (Ouyang et al. 2022, section 3.5). TRL has no lists.
//
// The figures weigh as the loss does, so that each prompt counts once. longer is how often the longer answer is the
// chosen one: a reward model that does not beat it has learned length.
var Reward = register(&Method{
	Name:   "reward",
	Doc:    "reward model on pairs (Bradley–Terry; Ouyang et al. 2022): a score for each answer, from head.gguf",
	Unit:   "pair",
	Need:   Pairs,
	Value:  AtEnds,
	Weighs: true,
	Reads:  []setting.Use{center.At(0.01), Margin.At(0)},
	Loss:   reward,
})

var (
	center = &setting.Setting{
		Name:  "center",
		Usage: "weight of the squared sum of a pair's scores, which holds them near 0",
		Range: setting.AtLeast(0, "0 or more, such as 0.01"),
	}
	// Margin is read where the data is, too: above 0 it must have scores.
	Margin = &setting.Setting{
		Name:  "margin",
		Usage: "how much of the difference of the data's own scores the chosen answer must lead by",
		Range: setting.AtLeast(0, "0 or more, such as 1"),
	}
)

func reward(in *Inputs, s setting.Values) (Result, error) {
	res := Result{GradValue: make([]float64, len(in.Value))}
	var chosen, rejected, accuracy, longer, margin float64
	var tokens [2]float64
	pull, k := s.Of(center), 0
	err := eachTwo(in, func(c, r Sequence) {
		w := c.Weight
		x, y := in.Value[k], in.Value[k+1]
		loss, slope := logistic(x-y-s.Of(Margin)*c.Margin, 1, 0)
		sum := x + y
		res.Sum += w * (loss + pull*sum*sum)
		res.GradValue[k], res.GradValue[k+1] = w*(slope+2*pull*sum), w*(-slope+2*pull*sum)
		res.Units += w
		chosen, rejected, margin = chosen+w*x, rejected+w*y, margin+w*(x-y)
		accuracy += w * greater(x, y)
		longer += w * greater(float64(c.Len), float64(r.Len))
		tokens[0], tokens[1] = tokens[0]+w*float64(c.Len), tokens[1]+w*float64(r.Len)
		k += 2
	})
	n := res.Units
	res.Metrics = []Metric{{"chosen_reward", chosen, n}, {"rejected_reward", rejected, n}, {"margin", margin, n},
		{"accuracy", accuracy, n}, {"longer", longer, n}, {"chosen_len", tokens[0], n}, {"rejected_len", tokens[1], n}}
	return res, err
}
