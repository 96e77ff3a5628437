package method

import (
	"math"

	"github.com/ggtune/ggtune/internal/setting"
)

// DistillKL learns how a teacher shares an anchor out among its texts (Lin et al. 2020, "Distilling Dense
// Representations for Ranking using Tightly-Coupled Teachers"; sentence-transformers' DistillKLDivLoss with the
// cosine): over the positive and the negatives d of an anchor a,
//
//	L = Σ_d t_d·log(t_d/q_d) / s²,  q = softmax(s·cos(a, d))
//
// where t is the softmax of the teacher's scores: the data's, as they come, or of another embedder (--teacher) its own
// cosines times scale s, one over the temperature. The softmax knows differences alone, so that margins say as much as
// scores. What a cross-encoder says should be of a size at which its softmax is no certainty.
//
// accuracy is how often both have the same text first.
var DistillKL = register(&Method{
	Name:      "distill-kl",
	Doc:       "an anchor's texts weighed as a teacher weighs them (Lin et al. 2020)",
	Unit:      "example",
	Need:      Groups,
	Negatives: true,
	Other:     Taught,
	Reads:     []setting.Use{scale.At(20)},
	Loss: func(in *Inputs, s setting.Values) (Result, error) {
		all, err := in.groups()
		if err != nil {
			return Result{}, err
		}
		res, hits := Result{Units: float64(len(all))}, 0.0
		by, v := s.Of(scale), sphereOf(in.Pooled, len(in.Sequences))
		for i, margins := range in.teacherMargins(all, by) {
			texts := append([]int{all[i].positive}, all[i].negatives...)
			own, taught := make([]float64, len(texts)), make([]float64, len(texts))
			for k, d := range texts {
				if own[k] = by * v.cos(all[i].anchor, d); k > 0 {
					taught[k] = -margins[k-1]
				}
			}
			q, t := logShares(own), logShares(taught)
			for k, d := range texts {
				share := math.Exp(t[k])
				if share > 0 { // 0·log 0
					res.Sum += share * (t[k] - q[k]) / (by * by)
				}
				v.push(all[i].anchor, d, (math.Exp(q[k])-share)/by)
			}
			if likeliest(q) == likeliest(t) {
				hits++
			}
		}
		res.GradPooled = v.back()
		res.Metrics = []Metric{{"accuracy", hits, res.Units}}
		return res, nil
	},
})

// logShares gives the logarithms of the softmax.
func logShares(x []float64) []float64 {
	most, sum := math.Inf(-1), 0.0
	for _, y := range x {
		most = max(most, y)
	}
	for _, y := range x {
		sum += math.Exp(y - most)
	}
	out := make([]float64, len(x))
	for i, y := range x {
		out[i] = y - most - math.Log(sum)
	}
	return out
}
