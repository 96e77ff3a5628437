package method

import "github.com/ggtune/ggtune/internal/setting"

// Triplet wants an anchor closer to its positive p than to a negative n by a margin (Schroff et al. 2015, "FaceNet: A
// Unified Embedding for Face Recognition and Clustering", equation 3, with 1 − cosine as the distance, as
// sentence-transformers' TripletDistanceMetric.COSINE has it):
//
//	L = max(0, cos(a, n) − cos(a, p) + margin)
//
// Each negative of an anchor makes a triplet of its own. accuracy is how often the positive is closer.
var Triplet = register(&Method{
	Name:      "triplet",
	Doc:       "an anchor closer to its positive than to its negative by a margin (Schroff et al. 2015)",
	Unit:      "triplet",
	Need:      Groups,
	Negatives: true,
	Reads:     []setting.Use{cosineMargin.At(0.2)},
	Loss:      triplet,
})

func triplet(in *Inputs, s setting.Values) (Result, error) {
	all, err := in.groups()
	if err != nil {
		return Result{}, err
	}
	res, f := Result{}, rankings{}
	v := sphereOf(in.Pooled, len(in.Sequences))
	for _, g := range all {
		for _, n := range g.negatives {
			near, far := v.cos(g.anchor, g.positive), v.cos(g.anchor, n)
			if short := far - near + s.Of(cosineMargin); short > 0 {
				res.Sum += short
				v.push(g.anchor, n, 1)
				v.push(g.anchor, g.positive, -1)
			}
			res.Units++
			f.hits, f.positive, f.negative = f.hits+greater(near, far), f.positive+near, f.negative+far
		}
	}
	n := res.Units
	res.GradPooled = v.back()
	res.Metrics = []Metric{{"accuracy", f.hits, n}, {"positive_cos", f.positive, n}, {"negative_cos", f.negative, n}}
	return res, nil
}
