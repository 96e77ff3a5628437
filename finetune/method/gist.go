package method

import "github.com/ggtune/ggtune/internal/setting"

// GIST is guided selection of negatives (Solatorio 2024, "GISTEmbed: Guided In-sample Selection of Training Negatives
// for Text Embedding Fine-tuning", section 3, in sentence-transformers' form): each anchor aᵢ is to choose its positive
// pᵢ among the step's other positives and hard negatives, by its cosines with them, among the other anchors, by its
// cosines with these, and among the other positives once more, by pᵢ's cosines with them, all times scale. What the
// guide finds closer than
//
//	cos_guide(aᵢ, pᵢ) − margin
//
// is taken for no negative and left out, and so is what mnrl leaves out. The guide is the reference: another embedder
// (--guide), or the model as training began, or with another adapter (--ref-adapter). margin is cosine-margin;
// sentence-transformers' own default is 0, at which all that is closer than the positive by any little is left out.
var GIST = register(&Method{
	Name:      "gist",
	Doc:       "mnrl without the negatives that the reference finds as close as the positive (Solatorio 2024)",
	Unit:      "example",
	Need:      Groups,
	Reference: true,
	Other:     Guided,
	Coupled:   true,
	Reads:     []setting.Use{scale.At(100), cosineMargin.At(0.01)},
	Loss:      gist,
})

func gist(in *Inputs, s setting.Values) (Result, error) {
	all, err := in.groups()
	if err != nil {
		return Result{}, err
	}
	res, f := Result{Units: float64(len(all))}, rankings{}
	n := len(in.Sequences)
	v, guide, known := sphereOf(in.Pooled, n), sphereOf(in.Ref, n), in.positives(all)
	for _, g := range all {
		bound := guide.cos(g.anchor, g.positive) - s.Of(cosineMargin)
		of := []two{{g.anchor, g.positive}}
		a, p := in.Sequences[g.anchor].Text, in.Sequences[g.positive].Text
		add := func(i, k int, same bool) {
			if same || guide.cos(i, k) > bound {
				f.masked++
				return
			}
			of = append(of, two{i, k})
		}
		for _, other := range all {
			if other.anchor != g.anchor {
				b, q := in.Sequences[other.anchor].Text, in.Sequences[other.positive].Text
				belongs := known[[2]uint64{a, q}]
				add(g.anchor, other.positive, belongs)
				add(g.anchor, other.anchor, a == b || known[[2]uint64{b, p}])
				add(g.positive, other.positive, belongs)
			}
			for _, k := range other.negatives {
				add(g.anchor, k, known[[2]uint64{a, in.Sequences[k].Text}])
			}
		}
		loss, cos := v.choose(of, s.Of(scale), 1)
		res.Sum += loss
		f.add(cos)
	}
	res.GradPooled, res.Metrics = v.back(), f.metrics(res.Units)
	return res, nil
}
