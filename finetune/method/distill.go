package method

import (
	"fmt"
	"math"

	"github.com/ggtune/ggtune/internal/setting"
)

// Distill is distillation from a teacher on given texts: the forward Kullback–Leibler divergence of the student's
// prediction q from the teacher's p in the place of every counted token (Hinton, Vinyals & Dean 2015, at temperature 1;
// the forward KL that MiniLLM, Gu et al. 2024, equation 2, and GKD, Agarwal et al. 2024, at β = 0, begin from),
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
	Loss:    distill,
})

// leastLog is the logarithm of less than any probability that single precision can tell from 0.
const leastLog = -100

func distill(in *Inputs, _ setting.Values) (Result, error) {
	r := Result{Units: float64(len(in.LogP)), Grad: make([]float64, len(in.Named))}
	own, same := 0.0, 0.0
	for t := range in.LogP {
		p, q := in.Teacher[t*in.Width:(t+1)*in.Width], in.Named[t*in.Width:(t+1)*in.Width]
		grad, last := r.Grad[t*in.Width:(t+1)*in.Width], in.Width-1
		loss, named := 0.0, 0.0
		add := func(i int, share, logShare float64) {
			if !(share > 0) {
				return // 0·log 0
			}
			if q[i] < leastLog { // of the rest alone: the others come from their own logits
				loss += share * (logShare - leastLog)
				return
			}
			loss += share * (logShare - q[i])
			grad[i] = -share
		}
		for i := range last {
			x := math.Exp(p[i])
			named += x
			add(i, x, p[i])
		}
		if rest := 1 - named; rest > 0 {
			add(last, rest, math.Log(rest))
		}
		r.Sum += loss
		own -= in.LogP[t]
		if likeliest(p[:last]) == likeliest(q[:last]) {
			same++
		}
	}
	r.Metrics = []Metric{{"nll", own, r.Units}, {"top1", same, r.Units}}
	return r, nil
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
