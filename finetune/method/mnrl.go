package method

import (
	"fmt"
	"math"

	"github.com/ggtune/ggtune/internal/setting"
)

// directions says who chooses in mnrl. The words are sentence-transformers' directions "query_to_doc" alone, and with
// "doc_to_query" in the partition "per_direction".
var directions = setting.Choice("directions", "who chooses: `ONE`, each anchor among all texts that are no anchors; "+
	"both, each positive among the anchors as well", "one", "both")

var learnScale = setting.Choice("learn-scale", "learn the scale, which begins as --scale says", "no", "yes")

// mostScale is that of a scale which is learned (Radford et al. 2021, "Learning Transferable Visual Models From Natural
// Language Supervision", section 2.5: "clipped to prevent scaling the logits by more than 100").
const mostScale = 100

// MNRL is the ranking loss with multiple negatives (Henderson et al. 2017, "Efficient Natural Language Response
// Suggestion for Smart Reply", section 4.4; InfoNCE, van den Oord et al. 2018, "Representation Learning with
// Contrastive Predictive Coding", equation 4): each anchor aᵢ is to choose its positive pᵢ among the positives and hard
// negatives d of the whole step, by cosines times scale s,
//
//	L = −s·cos(aᵢ, pᵢ) + log Σ_d exp(s·cos(aᵢ, d))
//
// With directions "both", half of that and half of pᵢ's choice among the anchors (sentence-transformers'
// MultipleNegativesSymmetricRankingLoss).
//
// A text that is no negative is left out of the sum: one equal to the positive, or to another positive of an equal
// anchor. sentence-transformers has no such mask, and keeps equal texts out of a batch instead.
//
// With learn-scale the logarithm of the scale is learned beside the model's numbers, at the same learning rate, without
// weight decay, and never above log 100 (CLIP, Radford et al. 2021, section 2.5). Then scale is a figure as well.
//
// accuracy is how often the positive has the highest cosine of all that the anchor chooses among; positive_cos and
// negative_cos are mean cosines, and masked how many texts an anchor does not see. idle is the share of anchors that
// have nothing to choose among, of which nothing is learned.
//
// The step goes through the loop as Gao et al. 2021 ("Scaling Deep Contrastive Learning Batch Size under Memory Limited
// Setup") have it: vectors of all micro-batches, the loss once, then each micro-batch forward again, and back. So the
// memory does not grow with the step, and it is sentence-transformers' CachedMultipleNegativesRankingLoss too. A step
// of one micro-batch is computed once.
var MNRL = register(&Method{
	Name:    "mnrl",
	Doc:     "choose the text that belongs to an anchor among all of the step (InfoNCE; Henderson et al. 2017)",
	Unit:    "example",
	Need:    Groups,
	Coupled: true,
	Reads:   []setting.Use{scale.At(20), learnScale.Word("no"), directions.Word("one")},
	Loss:    mnrl,
	follow: func(m *Method, given setting.Values) error {
		if m.set.Of(learnScale) == 0 {
			return nil
		}
		if x := m.set.Of(scale); x > mostScale {
			return fmt.Errorf("--scale is %g with --learn-scale yes; expected at most %d, where a scale that is "+
				"learned is cut off", x, mostScale)
		}
		m.Learned = []Learned{{Name: "log_scale", Start: math.Log(m.set.Of(scale)), Most: math.Log(mostScale),
			Setting: scale, Means: func(x float64) float64 { return min(math.Exp(x), mostScale) }}}
		return nil
	},
})

func mnrl(in *Inputs, s setting.Values) (Result, error) {
	by, learned := s.Of(scale), len(in.Own) > 0
	if learned {
		by = math.Exp(in.Own[0])
	}
	res, v, err := ranked(in, by, s.Of(directions) == 1)
	if err == nil && learned {
		res.GradOwn = []float64{by * v.byScale}
		res.Metrics = append(res.Metrics, Metric{"scale", by, 1})
	}
	return res, err
}

// ranked has each anchor of groups choose its positive by cosines times by, or both each other.
func ranked(in *Inputs, by float64, both bool) (Result, *sphere, error) {
	all, err := in.groups()
	if err != nil {
		return Result{}, nil, err
	}
	res, f, weight := Result{Units: float64(len(all))}, rankings{}, 1.0
	v, known := sphereOf(in.Pooled, len(in.Sequences)), in.positives(all)
	if both {
		weight = 0.5
	}
	for _, g := range all {
		of := []two{{g.anchor, g.positive}}
		a := in.Sequences[g.anchor].Text
		add := func(k int) {
			if known[[2]uint64{a, in.Sequences[k].Text}] {
				f.masked++
				return
			}
			of = append(of, two{g.anchor, k})
		}
		for _, other := range all {
			if other.anchor != g.anchor {
				add(other.positive)
			}
			for _, k := range other.negatives {
				add(k)
			}
		}
		loss, cos := v.choose(of, by, weight)
		res.Sum += loss
		f.add(cos)
		if !both {
			continue
		}
		of, p := of[:1], in.Sequences[g.positive].Text
		for _, other := range all {
			if !known[[2]uint64{in.Sequences[other.anchor].Text, p}] {
				of = append(of, two{other.anchor, g.positive})
			}
		}
		loss, _ = v.choose(of, by, weight)
		res.Sum += loss
	}
	res.GradPooled, res.Metrics = v.back(), f.metrics(res.Units)
	return res, v, nil
}

// rankings sums up the figures of choices between a positive and negatives.
type rankings struct{ hits, choices, positive, negative, negatives, masked float64 }

// add adds the cosines of a choice, of which the first is the positive's.
func (f *rankings) add(cos []float64) {
	hit := 1.0
	for _, x := range cos[1:] {
		hit = min(hit, greater(cos[0], x))
		f.negative += x
	}
	f.positive += cos[0]
	if len(cos) > 1 {
		f.hits, f.choices, f.negatives = f.hits+hit, f.choices+1, f.negatives+float64(len(cos)-1)
	}
}

func (f *rankings) metrics(anchors float64) []Metric {
	return []Metric{{"accuracy", f.hits, f.choices}, {"positive_cos", f.positive, anchors},
		{"negative_cos", f.negative, f.negatives}, {"masked", f.masked, anchors}, {Idle, anchors - f.choices, anchors}}
}
