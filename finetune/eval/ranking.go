package eval

import (
	"cmp"
	"math"
	"slices"
)

// A Place is where a relevant document stands in the ranking for a query.
type Place struct {
	// Rank counts from 1. Of documents with the same score that are not relevant, half stand before it.
	Rank float64
	// Grade says how relevant it is; above 0.
	Grade float64
}

// A Ranking has the places of all relevant documents of a query, by rank. The figures of retrieval follow from them;
// they are trec_eval's (https://github.com/usnistgov/trec_eval), which calls them ndcg_cut, recip_rank, map and recall.
type Ranking []Place

// Rank ranks the documents of a corpus for a query by their scores, without the one of that number, which is the query
// itself; -1: it is not among them. relevant has the grades of the relevant ones, by their number in the corpus; 0 and
// below is not relevant.
func Rank(scores []float64, relevant map[int]float64, without int) Ranking {
	var found []int
	for d, grade := range relevant {
		if grade > 0 && d != without {
			found = append(found, d)
		}
	}
	slices.SortFunc(found, func(a, b int) int {
		return cmp.Or(cmp.Compare(scores[b], scores[a]), cmp.Compare(relevant[b], relevant[a]), cmp.Compare(a, b))
	})
	halves := make([]int, len(found)) // of others that stand before each, two for one
	for d, s := range scores {
		if relevant[d] > 0 || d == without {
			continue
		}
		for i, f := range found {
			halves[i] += 1 + cmp.Compare(s, scores[f])
		}
	}
	r := make(Ranking, len(found))
	for i, f := range found {
		r[i] = Place{Rank: float64(i+1) + float64(halves[i])/2, Grade: relevant[f]}
	}
	return r
}

// NDCG is the discounted gain of the first k documents over that of the best order there is: gains are grades, divided
// by log₂(rank + 1) (Järvelin and Kekäläinen 2002, as trec_eval has it).
func (r Ranking) NDCG(k int) float64 {
	gain := 0.0
	grades := make([]float64, len(r))
	for i, p := range r {
		grades[i] = p.Grade
		if p.Rank <= float64(k) {
			gain += p.Grade / math.Log2(p.Rank+1)
		}
	}
	slices.SortFunc(grades, func(a, b float64) int { return cmp.Compare(b, a) })
	best := 0.0
	for i, g := range grades[:min(k, len(grades))] {
		best += g / math.Log2(float64(i)+2)
	}
	return gain / best
}

// Recall is the share of the relevant documents that are among the first k.
func (r Ranking) Recall(k int) float64 {
	n := 0.0
	for _, p := range r {
		if p.Rank <= float64(k) {
			n++
		}
	}
	return n / float64(len(r))
}

// ReciprocalRank is one over the rank of the first relevant document.
func (r Ranking) ReciprocalRank() float64 { return 1 / r[0].Rank }

// AveragePrecision is the mean, over the relevant documents, of the share of relevant ones among those up to it.
func (r Ranking) AveragePrecision() float64 {
	sum := 0.0
	for i, p := range r {
		sum += float64(i+1) / p.Rank
	}
	return sum / float64(len(r))
}

// A Measure is one figure of rankings, which no ranking without a relevant document has.
type Measure struct {
	Name string
	Of   func(r Ranking) float64
}

// Measures lists those that are shown, the most telling first.
func Measures() []Measure {
	return []Measure{
		{"ndcg@10", func(r Ranking) float64 { return r.NDCG(10) }},
		{"mrr", Ranking.ReciprocalRank},
		{"map", Ranking.AveragePrecision},
		{"recall@1", func(r Ranking) float64 { return r.Recall(1) }},
		{"recall@10", func(r Ranking) float64 { return r.Recall(10) }},
		{"recall@100", func(r Ranking) float64 { return r.Recall(100) }},
	}
}
