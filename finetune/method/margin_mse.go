package method

import "github.com/ggtune/ggtune/internal/setting"

// MarginMSE learns a teacher's margins (Hofstätter et al. 2020, "Improving Efficient Neural Ranking Models with
// Cross-Architecture Knowledge Distillation"; sentence-transformers' MarginMSELoss with the cosine): of
// each negative n of an anchor a with positive p,
//
//	L = (s·cos(a, p) − s·cos(a, n) − m)²
//
// where m is the teacher's margin: the data's, as it comes, or of another embedder (--teacher) its own cosines' times
// scale s. At scale 1 both are cosines; a cross-encoder's margins are of another size, which scale has cosines reach.
//
// accuracy is how often the positive is closer where the teacher has it so, or is not where it has not; margin and
// teacher_margin are means.
var MarginMSE = register(&Method{
	Name:      "margin-mse",
	Doc:       "differences of cosines equal to a teacher's (Hofstätter et al. 2020)",
	Unit:      "triplet",
	Need:      Groups,
	Negatives: true,
	Other:     Taught,
	Reads:     []setting.Use{scale.At(1)},
	Loss: func(in *Inputs, s setting.Values) (Result, error) {
		all, err := in.groups()
		if err != nil {
			return Result{}, err
		}
		var res Result
		var hits, own, taught float64
		by, v := s.Of(scale), sphereOf(in.Pooled, len(in.Sequences))
		for i, margins := range in.teacherMargins(all, by) {
			g := all[i]
			for k, n := range g.negatives {
				margin := by * (v.cos(g.anchor, g.positive) - v.cos(g.anchor, n))
				off := margin - margins[k]
				res.Sum += off * off
				v.push(g.anchor, g.positive, 2*off*by)
				v.push(g.anchor, n, -2*off*by)
				res.Units++
				if margin > 0 == (margins[k] > 0) {
					hits++
				}
				own, taught = own+margin, taught+margins[k]
			}
		}
		res.GradPooled = v.back()
		res.Metrics = []Metric{{"accuracy", hits, res.Units}, {"margin", own, res.Units},
			{"teacher_margin", taught, res.Units}}
		return res, nil
	},
})

// teacherMargins gives, of each group, by how much the teacher scores the positive above each of the negatives: what
// the data says, or the reference's cosines times scale.
func (in *Inputs) teacherMargins(all []group, scale float64) [][]float64 {
	out := make([][]float64, len(all))
	var v *sphere
	if in.Ref != nil {
		v = sphereOf(in.Ref, len(in.Sequences))
	}
	for i, g := range all {
		for _, n := range g.negatives {
			margin := in.Sequences[n].Margin
			if v != nil {
				margin = scale * (v.cos(g.anchor, g.positive) - v.cos(g.anchor, n))
			}
			out[i] = append(out[i], margin)
		}
	}
	return out
}
