package method

import (
	"fmt"
	"math"
	"slices"

	"github.com/ggtune/ggtune/internal/setting"
)

// Distill is distillation from a teacher on given texts: the forward Kullback–Leibler divergence of the student's
// prediction q from the teacher's p in the place of every counted token (Hinton, Vinyals & Dean 2015, at temperature 1;
// the forward KL that MiniLLM, Gu et al. 2024, and GKD, Agarwal et al. 2024, at β = 0, begin from),
//
//	L = Σ_{v in K} p_v·log(p_v/q_v) + p_rest·log(p_rest/q_rest),  p_rest = 1 − Σ_{v in K} p_v,  q_rest likewise,
//
// where K are the teacher's likeliest tokens, the text's own among them, and all others are one outcome. Taking
// outcomes together can only lower a divergence (the log-sum inequality), so that L is a lower bound of that over the
// whole vocabulary, and equal to it where K is all of it. The derivative by log q_v is −p_v, and by log q_rest −p_rest.
// The teacher's whole predictions, which TRL's GKD trainer and llama.cpp's --kl-divergence keep, would be a thousand
// times as large.
//
// top1 is the share of tokens for which both find the same of K likeliest.
var Distill = register(&Method{
	Name:    "distill",
	Doc:     "distillation: forward KL from a teacher's predictions (Hinton et al. 2015)",
	Unit:    "token",
	Teacher: true,
	Loss: func(in *Inputs, _ setting.Values) (Result, error) {
		return taught(in, forward), nil
	},
})

// leastLog is the logarithm of less than any probability that single precision can tell from 0.
const leastLog = -100

// A prediction is a distribution over the tokens that a teacher names, and behind them all others as one outcome: the
// probability of each, and its logarithm.
type prediction struct{ share, log []float64 }

// named gives what a model predicts, of whose outcomes logp are the log-probabilities.
func named(logp []float64) prediction {
	p := prediction{make([]float64, len(logp)), logp}
	for i, x := range logp {
		p.share[i] = math.Exp(x)
	}
	return p
}

// left is p with what the named tokens leave as the probability of the others.
func (p prediction) left() prediction {
	last, sum := len(p.log)-1, 0.0
	for _, x := range p.share[:last] {
		sum += x
	}
	p.share[last] = max(1-sum, 0)
	p.log = append(slices.Clone(p.log[:last]), math.Log(p.share[last]))
	return p
}

// forward is the divergence of q from p, and enters its derivatives by log q into grad.
func forward(p, q prediction, grad []float64) (loss float64) {
	for i, share := range p.share {
		switch {
		case !(share > 0): // 0·log 0
		case q.log[i] < leastLog: // of the rest alone: the others come from their own logits
			loss += share * (p.log[i] - leastLog)
		default:
			loss += share * (p.log[i] - q.log[i])
			grad[i] = -share
		}
	}
	return loss
}

// taught sums a loss over the counted tokens that is made of the teacher's prediction of each and the student's, and
// whose derivatives by the logarithms of the student's it enters into grad.
func taught(in *Inputs, loss func(teacher, student prediction, grad []float64) float64) Result {
	r := Result{Units: float64(len(in.LogP)), Grad: make([]float64, len(in.Named))}
	own, same := 0.0, 0.0
	for t := range in.LogP {
		from, to := t*in.Width, (t+1)*in.Width
		p, q := named(in.Teacher[from:to]).left(), named(in.Named[from:to])
		r.Sum += loss(p, q, r.Grad[from:to])
		own -= in.LogP[t]
		if likeliest(p.log[:in.Width-1]) == likeliest(q.log[:in.Width-1]) {
			same++
		}
	}
	r.Metrics = []Metric{{"nll", own, r.Units}, {"top1", same, r.Units}}
	return r
}

func likeliest(logp []float64) int {
	best := 0
	for i, x := range logp {
		if x > logp[best] {
			best = i
		}
	}
	return best
}

// checkTaught refuses predictions that are not as many for each counted token.
func (m *Method) checkTaught(in *Inputs) error {
	if in.Width < 2 || len(in.Named) != in.Width*len(in.LogP) || len(in.Teacher) != len(in.Named) {
		return fmt.Errorf("method %s needs the teacher's predictions: have %d of it and %d of the model for %d tokens",
			m.Name, len(in.Teacher), len(in.Named), len(in.LogP))
	}
	return nil
}
