package method

import "github.com/ggtune/ggtune/internal/setting"

var (
	desirableWeight = &setting.Setting{
		Name:  "desirable-weight",
		Usage: "weight of desirable answers",
		Range: setting.Above(0, "above 0"),
	}
	undesirableWeight = &setting.Setting{
		Name:  "undesirable-weight",
		Usage: "weight of undesirable answers",
		Range: setting.Above(0, "above 0"),
	}
)

// KTO learns from single answers under a verdict (Ethayarajh et al. 2024, "KTO: Model Alignment as Prospect Theoretic
// Optimization", equation 8, in TRL's form):
//
//	L = λ_D·(1 − σ(β(r − z)))  for a desirable answer,  λ_U·(1 − σ(β(z − r)))  for an undesirable one,
//	r = log π(y)/ref(y),  z = max(0, mean of log π(y')/ref(y') over the step's mismatched answers y').
//
// z estimates KL(π‖ref) and is a constant to the gradient: the mismatched answers are not trained. λ_D and λ_U are
// desirable-weight and undesirable-weight. The mean is over the answers, whatever their weights, and over all of a
// step, where TRL takes z from one micro-batch (of all devices). A step of one class is as good as any other.
//
// Reward: β·r, as TRL shows. An answer is a hit of accuracy where r is on its verdict's side of z, the point at which
// the loss is steepest; on it counts half. margin is the difference of the two classes' mean rewards, and is not there
// (weight 0) without both. kl is that of the judged answers, as every method's (nats per token); z_ref is z (nats per
// answer).
var KTO = register(&Method{
	Name:      "kto",
	Doc:       "Kahneman-Tversky optimisation: single answers, good or bad (Ethayarajh et al. 2024)",
	Unit:      "answer",
	Need:      Verdicts,
	Reference: true,
	Coupled:   true,
	Reads:     []setting.Use{beta.At(0.1), desirableWeight.At(1), undesirableWeight.At(1)},
	Loss:      kto,
})

func kto(in *Inputs, s setting.Values) (Result, error) {
	res, b := Result{Grad: make([]float64, len(in.LogP))}, s.Of(beta)
	z, err := mismatched(in)
	if err != nil {
		return res, err
	}
	var reward, count [2]float64
	var accuracy float64
	err = eachTwo(in, func(q, _ Sequence) {
		r := in.answer(q, plain).ratio
		k, sign, weight := 0, 1.0, s.Of(desirableWeight)
		if !desirable(q) {
			k, sign, weight = 1, -1, s.Of(undesirableWeight)
		}
		x := sign * b * (r - z)
		res.Sum += weight * sigmoid(-x)
		for t := range q.Len {
			res.Grad[q.Start+t] = -sign * b * weight * bell(x)
		}
		reward[k] += b * r
		count[k]++
		accuracy += greater(sign*r, sign*z)
	})
	res.Units = count[0] + count[1]
	margin := Metric{Name: "margin"}
	if count[0] > 0 && count[1] > 0 {
		margin.Sum, margin.Weight = reward[0]/count[0]-reward[1]/count[1], 1
	}
	res.Metrics = append([]Metric{
		{"desirable_reward", reward[0], count[0]},
		{"undesirable_reward", reward[1], count[1]},
		margin,
		{"accuracy", accuracy, res.Units},
		{"z_ref", z, 1},
	}, answerMetrics(in, "desirable", "undesirable",
		func(q Sequence) (bool, bool) { return desirable(q), Verdicts.Trains(q.Child) })...)
	return res, err
}

// mismatched is KTO's z.
func mismatched(in *Inputs) (float64, error) {
	var sum, n float64
	err := eachTwo(in, func(_, q Sequence) {
		sum += in.answer(q, plain).ratio
		n++
	})
	if n == 0 {
		return 0, err
	}
	return max(0, sum/n), err
}

func desirable(q Sequence) bool { return q.Label > 0.5 }

// plain is the weight of every token where none is discounted.
func plain(int) float64 { return 1 }
