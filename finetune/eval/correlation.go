package eval

import (
	"cmp"
	"math"
	"slices"
)

// A Correlate is a kind of correlation of two lists of numbers. There is none, NaN, where either has one number only.
type Correlate struct {
	Name string
	// of readies a list of numbers to be correlated over draws from it.
	of func(x []float64) func(times []int) []float64
}

// Correlates lists them: of ranks, and of the numbers themselves.
func Correlates() []Correlate {
	return []Correlate{
		{"spearman", drawnRanks},
		{"pearson", func(x []float64) func([]int) []float64 { return func([]int) []float64 { return x } }},
	}
}

// Correlate gives the correlation of each list of numbers with what is given, with a percentile bootstrap interval that
// the seed fixes; and, of two lists, by how much the second's is above the first's, over the same draws.
func (c Correlate) Correlate(given []float64, seed uint64, lists ...[]float64) (each []Share, change *Share) {
	n := len(given)
	once := make([]int, n)
	for i := range once {
		once[i] = 1
	}
	of := make([]func(times []int) []float64, len(lists))
	for i, x := range lists {
		of[i] = c.of(x)
	}
	truth := c.of(given)
	correlations := func(times []int) []float64 {
		out, t := make([]float64, len(of)), truth(times)
		for i := range of {
			out[i] = pearson(of[i](times), t, times)
		}
		return out
	}
	whole := correlations(once)
	drawn := make([][]float64, len(lists)+1)
	draw(n, seed, func(which []int) {
		times := make([]int, n)
		for _, i := range which {
			times[i]++
		}
		got := correlations(times)
		if slices.ContainsFunc(got, math.IsNaN) { // of few numbers
			return
		}
		for i, x := range got {
			drawn[i] = append(drawn[i], x)
		}
		if len(got) == 2 {
			drawn[2] = append(drawn[2], got[1]-got[0])
		}
	})
	if len(drawn[0]) == 0 {
		return slices.Repeat([]Share{{Value: math.NaN()}}, len(lists)), nil
	}
	for i, x := range whole {
		each = append(each, shareOf(x, n, drawn[i]))
	}
	if len(whole) == 2 {
		s := shareOf(whole[1]-whole[0], n, drawn[2])
		change = &s
	}
	return each, change
}

// pearson is the correlation of x and y, in which each place stands so many times.
func pearson(x, y []float64, times []int) float64 {
	var n, mx, my float64
	for i, t := range times {
		w := float64(t)
		n, mx, my = n+w, mx+w*x[i], my+w*y[i]
	}
	mx, my = mx/n, my/n
	var xx, yy, xy float64
	for i, t := range times {
		w, dx, dy := float64(t), x[i]-mx, y[i]-my
		xx, yy, xy = xx+w*dx*dx, yy+w*dy*dy, xy+w*dx*dy
	}
	return xy / math.Sqrt(xx*yy)
}

// drawnRanks gives the ranks of x among draws; equal numbers share the mean of theirs, as in scipy.stats.rankdata.
func drawnRanks(x []float64) func(times []int) []float64 {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(x[a], x[b]) })
	return func(times []int) []float64 {
		ranks := make([]float64, len(x))
		before := 0
		for i := 0; i < len(order); {
			j, n := i, 0
			for ; j < len(order) && x[order[j]] == x[order[i]]; j++ {
				n += times[order[j]]
			}
			for _, k := range order[i:j] {
				ranks[k] = float64(before) + float64(n+1)/2
			}
			i, before = j, before+n
		}
		return ranks
	}
}
