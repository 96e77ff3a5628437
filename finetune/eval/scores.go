package eval

import (
	"cmp"
	"crypto/sha256"
	"math"
	"slices"

	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
)

// A Judgement is what scores make of a pair, or of an answer with a verdict.
type Judgement struct {
	Prompt [sha256.Size]byte
	Weight float64 // of a pair of a list: one over the number of its pairs
	// Lead is by how much the chosen answer's score is above the rejected one's; of a verdict, the score.
	Lead float64
	// Right is whether the lead is on the side of the data: 1, 0, or a half where it is on none.
	Right float64
	// Longer is the same of the rule that the longer answer is better; of a verdict, of the rule that all are as most
	// are.
	Longer float64
	Good   bool // a verdict's
}

// Judge lists what scores make of a micro-batch. items are those of its data.
func Judge(how *method.Method, items []encode.Item, in *method.Inputs) (out []Judgement) {
	if how.Need == method.Labels {
		for i, q := range in.Sequences {
			j := Judgement{Prompt: items[q.Example].Prompt, Weight: 1, Lead: in.Value[i], Good: q.Label > 0.5}
			j.Right = Side(j.Lead * (2*q.Label - 1))
			out = append(out, j)
		}
		return out
	}
	for i := 0; i+1 < len(in.Sequences); i += 2 {
		c, r := in.Sequences[i], in.Sequences[i+1]
		j := Judgement{Prompt: items[c.Example].Prompt, Weight: c.Weight, Lead: in.Value[i] - in.Value[i+1]}
		j.Right, j.Longer = Side(j.Lead), Side(float64(c.Len-r.Len))
		out = append(out, j)
	}
	return out
}

// Side is 1 above 0, 0 below, and a half at 0.
func Side(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return 0
	}
	return 0.5
}

// Scores sum judgements up. Intervals are over prompts, whose answers hang together.
type Scores struct {
	Prompts  int   `json:"prompts"`
	Accuracy Share `json:"accuracy"`
	// Trivial is the accuracy of the rule that knows no answer: the longer one is better, or all are as most are; and
	// Gain how much more often the scores are right.
	Trivial Share `json:"trivial"`
	Gain    Share `json:"gain"`
	Margin  Share `json:"margin"` // the mean lead on the data's side
	// MRR is, of verdicts, the mean reciprocal rank of the first good answer among those to a prompt that has both
	// kinds; nil without such. Ties count half.
	MRR *Share `json:"mrr,omitempty"`

	Calibration []Bin `json:"calibration"`
	// ECE is the mean difference between what was said and what was, over the bins (Guo et al. 2017, equation 3).
	ECE float64 `json:"ece"`
}

// A Bin is those of whom the scores say about the same: how likely the answer with the higher score is the better one,
// or the answer is good, is σ of the lead.
type Bin struct {
	From float64 `json:"from"`
	To   float64 `json:"to"`
	N    int     `json:"n"`
	Said float64 `json:"said"` // mean
	Was  float64 `json:"was"`  // share
}

// bins is how many there are.
const bins = 10

// SumUp sums up what is not empty. The seed fixes the intervals.
func SumUp(how *method.Method, all []Judgement, seed uint64) *Scores {
	labels := how.Need == method.Labels
	if labels {
		all = withMajority(all)
	}
	g := newGroups(all)
	of := func(f func(j *Judgement) float64) Share { return g.mean(all, f, seed) }
	s := &Scores{Prompts: len(g.prompts),
		Accuracy: of(func(j *Judgement) float64 { return j.Right }),
		Trivial:  of(func(j *Judgement) float64 { return j.Longer }),
		Gain:     of(func(j *Judgement) float64 { return j.Right - j.Longer }),
		Margin: of(func(j *Judgement) float64 {
			if labels && !j.Good {
				return -j.Lead
			}
			return j.Lead
		})}
	if labels {
		s.MRR = g.mrr(all, seed)
	}
	s.calibrate(all, labels)
	return s
}

// withMajority gives verdicts what the rule that all are as most are makes of them.
func withMajority(all []Judgement) []Judgement {
	good := 0.0
	for _, j := range all {
		if j.Good {
			good++
		}
	}
	out := slices.Clone(all)
	for i := range out {
		if 2*good == float64(len(all)) {
			out[i].Longer = 0.5
		} else if out[i].Good == (2*good > float64(len(all))) {
			out[i].Longer = 1
		}
	}
	return out
}

// calibrate fills the bins. Of a pair either order is as good, so that the better answer's lead says it all.
func (s *Scores) calibrate(all []Judgement, labels bool) {
	low := 0.5
	if labels {
		low = 0
	}
	width := (1 - low) / bins
	s.Calibration = make([]Bin, bins)
	for i := range s.Calibration {
		s.Calibration[i].From, s.Calibration[i].To = low+float64(i)*width, low+float64(i+1)*width
	}
	for _, j := range all {
		said, was := 1/(1+math.Exp(-j.Lead)), 0.0
		switch {
		case labels && j.Good:
			was = 1
		case !labels:
			said, was = max(said, 1-said), j.Right
		}
		b := &s.Calibration[min(int((said-low)/width), bins-1)]
		b.N++
		b.Said, b.Was = b.Said+said, b.Was+was
	}
	for i := range s.Calibration {
		b := &s.Calibration[i]
		if b.N > 0 {
			b.Said, b.Was = b.Said/float64(b.N), b.Was/float64(b.N)
			s.ECE += math.Abs(b.Said-b.Was) * float64(b.N) / float64(len(all))
		}
	}
}

// groups are judgements by prompt, in the order in which prompts first come.
type groups struct{ prompts [][]int }

func newGroups(all []Judgement) (g groups) {
	seen := map[[sha256.Size]byte]int{}
	for i, j := range all {
		at, ok := seen[j.Prompt]
		if !ok {
			at = len(g.prompts)
			seen[j.Prompt] = at
			g.prompts = append(g.prompts, nil)
		}
		g.prompts[at] = append(g.prompts[at], i)
	}
	return g
}

// mean is the weighed mean of f, with a percentile bootstrap interval over prompts.
func (g groups) mean(all []Judgement, f func(j *Judgement) float64, seed uint64) Share {
	sums, weights := make([]float64, len(g.prompts)), make([]float64, len(g.prompts))
	for p, list := range g.prompts {
		for _, i := range list {
			sums[p] += all[i].Weight * f(&all[i])
			weights[p] += all[i].Weight
		}
	}
	return RatioOf(sums, weights, seed)
}

// RatioOf is the sum of some numbers over that of their weights, which come in groups that hang together, with a
// percentile bootstrap interval over the groups that the seed fixes.
func RatioOf(sums, weights []float64, seed uint64) Share {
	total, weight := 0.0, 0.0
	for i := range sums {
		total, weight = total+sums[i], weight+weights[i]
	}
	var drawn []float64
	draw(len(sums), seed, func(which []int) {
		a, b := 0.0, 0.0
		for _, i := range which {
			a, b = a+sums[i], b+weights[i]
		}
		drawn = append(drawn, a/b)
	})
	return shareOf(total/weight, len(sums), drawn)
}

// mrr is the mean reciprocal rank over the prompts that have good answers and others.
func (g groups) mrr(all []Judgement, seed uint64) *Share {
	var ranks []float64
	for _, list := range g.prompts {
		good := slices.Collect(func(yield func(float64) bool) {
			for _, i := range list {
				if all[i].Good && !yield(all[i].Lead) {
					return
				}
			}
		})
		if len(good) == 0 || len(good) == len(list) {
			continue
		}
		best, rank := slices.MaxFunc(good, cmp.Compare[float64]), 1.0
		for _, i := range list {
			if !all[i].Good {
				rank += Side(all[i].Lead - best)
			}
		}
		ranks = append(ranks, 1/rank)
	}
	if len(ranks) == 0 {
		return nil
	}
	s := MeanOf(ranks, seed)
	return &s
}
