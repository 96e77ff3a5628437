package method

import "github.com/ggtune/ggtune/internal/setting"

// Cosine is regression on scores (Reimers and Gurevych 2019, "Sentence-BERT: Sentence Embeddings using Siamese
// BERT-Networks", section 3; sentence-transformers' CosineSimilarityLoss): with y the data's score,
//
//	L = (cos(u, v) − y)²
var Cosine = register(&Method{
	Name:   "cosine",
	Doc:    "cosines of texts equal to the data's scores (Reimers and Gurevych 2019)",
	Unit:   "pair",
	Need:   Likenesses,
	Scores: setting.Within(-1, 1, "−1 to 1, as cosines are"),
	Loss: func(in *Inputs, _ setting.Values) (Result, error) {
		return eachLikeness(in, func(cos, label float64) (loss, slope float64) {
			return (cos - label) * (cos - label), 2 * (cos - label)
		})
	},
})

// Contrastive draws texts together that are alike, and others apart as far as a margin (Hadsell et al. 2006,
// "Dimensionality Reduction by Learning an Invariant Mapping", equation 4, with sentence-transformers' distance): with
// y 1 or 0 and D = 1 − cos(u, v),
//
//	L = ½·(y·D² + (1 − y)·max(0, margin − D)²)
var Contrastive = register(&Method{
	Name:   "contrastive",
	Doc:    "texts that are alike together, others apart by a margin (Hadsell et al. 2006)",
	Unit:   "pair",
	Need:   Likenesses,
	Reads:  []setting.Use{cosineMargin.At(0.5)},
	Scores: setting.Range{Expected: "1 (alike) or 0", Holds: func(x float64) bool { return x == 0 || x == 1 }},
	Loss: func(in *Inputs, s setting.Values) (Result, error) {
		return eachLikeness(in, func(cos, label float64) (loss, slope float64) {
			d := 1 - cos
			short := max(0, s.Of(cosineMargin)-d)
			return (label*d*d + (1-label)*short*short) / 2, -label*d + (1-label)*short
		})
	},
})

// eachLikeness sums up a loss of each pair by itself. like_cos and unlike_cos are the mean cosines of the pairs whose
// scores are above a half, and of the others.
func eachLikeness(in *Inputs, judge func(cos, label float64) (loss, slope float64)) (Result, error) {
	var res Result
	var cosines, count [2]float64
	v := sphereOf(in.Pooled, len(in.Sequences))
	err := in.likeness(func(i, k int, label float64) {
		cos := v.cos(i, k)
		loss, slope := judge(cos, label)
		res.Sum += loss
		v.push(i, k, slope)
		side := int(greater(label, 0.5))
		cosines[side], count[side] = cosines[side]+cos, count[side]+1
	})
	res.Units, res.GradPooled = count[0]+count[1], v.back()
	res.Metrics = []Metric{{"like_cos", cosines[1], count[1]}, {"unlike_cos", cosines[0], count[0]}}
	return res, err
}
