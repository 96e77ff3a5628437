package main

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/ggtune/ggtune/finetune/eval"
)

// nearly: answers are about as long as each other where the longer has at most so many times the shorter's bytes.
const nearly = 1.25

func near(p pair) bool {
	a, b := len(p.chosen), len(p.rejected)
	return float64(max(a, b)) <= nearly*float64(min(a, b))
}

// A length is what tells a pair's answers apart: by how much the chosen one is ahead by its score, and by length.
type length struct {
	lead, longer float64
	group        int // of what is held out together
}

// resamples is how often groups are drawn for an interval, as eval does.
const resamples = 2000

// atEqualLength is what one standard deviation of the lead adds to the log-odds of being chosen where lengths are
// equal. As in length-controlled AlpacaEval (Dubois et al. 2024, section 3), a logistic model has a term for the
// difference of lengths, tanh(Δ/deviation of Δ), beside that of the score, which here is the reward model's lead. The
// interval is a bootstrap over groups.
func atEqualLength(all []length, groups int, seed uint64) eval.Share {
	if len(all) == 0 {
		return eval.Share{}
	}
	lead, longer := 0.0, 0.0 // deviations from 0: whichever answer comes first, the mean is 0
	for _, x := range all {
		lead, longer = lead+x.lead*x.lead, longer+x.longer*x.longer
	}
	n := float64(len(all))
	lead, longer = math.Sqrt(lead/n), math.Sqrt(longer/n)
	of := make([][][2]float64, groups)
	for _, x := range all {
		of[x.group] = append(of[x.group], [2]float64{x.lead / max(lead, 1e-9),
			math.Tanh(x.longer / max(longer, 1e-9))})
	}
	s := eval.Share{Value: logistic(slices.Concat(of...))}
	r := rand.New(rand.NewPCG(seed, uint64(groups)))
	drawn := make([]float64, resamples)
	var some [][2]float64
	for k := range drawn {
		some = some[:0]
		for range of {
			some = append(some, of[r.IntN(groups)]...)
		}
		drawn[k] = logistic(some)
	}
	slices.Sort(drawn)
	s.Interval = [2]float64{drawn[resamples/40], drawn[resamples-1-resamples/40]}
	return s
}

// ridge keeps the weights finite where they tell all pairs apart.
const ridge = 0.1

// logistic is the first of the weights under which all rows, each the better answer's lead over the worse one's, are
// likeliest, by Newton's method.
func logistic(rows [][2]float64) float64 {
	var w [2]float64
	for range 30 {
		g := [2]float64{-ridge * w[0], -ridge * w[1]}
		h := [3]float64{ridge, 0, ridge} // h00, h01, h11
		for _, x := range rows {
			wrong := 1 / (1 + math.Exp(w[0]*x[0]+w[1]*x[1]))
			v := wrong * (1 - wrong)
			g[0], g[1] = g[0]+wrong*x[0], g[1]+wrong*x[1]
			h[0], h[1], h[2] = h[0]+v*x[0]*x[0], h[1]+v*x[0]*x[1], h[2]+v*x[1]*x[1]
		}
		det := h[0]*h[2] - h[1]*h[1]
		d := [2]float64{(h[2]*g[0] - h[1]*g[1]) / det, (h[0]*g[1] - h[1]*g[0]) / det}
		w[0], w[1] = w[0]+d[0], w[1]+d[1]
		if math.Abs(d[0])+math.Abs(d[1]) < 1e-9 {
			break
		}
	}
	return w[0]
}
