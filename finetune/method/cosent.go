package method

import (
	"math"

	"github.com/ggtune/ggtune/internal/setting"
)

// CoSENT learns the order of the data's scores (Su 2022, "CoSENT"; Huang et al. 2024, "CoSENT: Consistent Sentence
// Embedding via Similarity Ranking", equation 5): over all pairs of texts of the step of which i has a higher score
// than k,
//
//	L = log(1 + Σ exp(s·(cos_k − cos_i)))
//
// with s the scale. The scores' own size does not count, so they may be of any range. The loss is one number of a step,
// which is its unit. accuracy is the share of such pairs of pairs that are in the right order, and idle the share of
// steps without any.
var CoSENT = register(&Method{
	Name:    "cosent",
	Doc:     "cosines of texts in the order of the data's scores (Su 2022; Huang et al. 2024)",
	Unit:    "batch",
	Need:    Likenesses,
	Coupled: true,
	Reads:   []setting.Use{scale.At(20)},
	Loss: func(in *Inputs, s setting.Values) (Result, error) {
		return ordered(in, s.Of(scale), (*sphere).cos, (*sphere).push)
	},
})

// ordered is CoSENT's loss over some likeness of vectors; push takes its derivative.
func ordered(in *Inputs, scale float64, like func(v *sphere, i, k int) float64,
	push func(v *sphere, i, k int, slope float64)) (Result, error) {
	type pair struct {
		two
		label, like float64
	}
	var all []pair
	v := sphereOf(in.Pooled, len(in.Sequences))
	err := in.likeness(func(i, k int, label float64) {
		all = append(all, pair{two{i, k}, label, like(v, i, k)})
	})
	if err != nil {
		return Result{}, err
	}
	most := 0.0 // of the exponents, that of the 1 among them
	each := func(f func(higher, lower int, x float64)) {
		for i := range all {
			for k := range all {
				if all[i].label > all[k].label {
					f(i, k, scale*(all[k].like-all[i].like))
				}
			}
		}
	}
	var hits, n float64
	each(func(i, k int, x float64) {
		most = max(most, x)
		hits, n = hits+greater(all[i].like, all[k].like), n+1
	})
	sum, slopes := math.Exp(-most), make([]float64, len(all))
	each(func(i, k int, x float64) {
		e := math.Exp(x - most)
		sum += e
		slopes[k], slopes[i] = slopes[k]+e, slopes[i]-e
	})
	for i, p := range all {
		push(v, p.i, p.k, scale*slopes[i]/sum)
	}
	return Result{Sum: most + math.Log(sum), Units: 1, GradPooled: v.back(),
		Metrics: []Metric{{"accuracy", hits, n}, {Idle, 1 - min(n, 1), 1}}}, nil
}
