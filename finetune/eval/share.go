package eval

import (
	"math"
	"math/rand/v2"
	"slices"
)

// A Share is how many of some things are right, with what is not known of it.
type Share struct {
	Value float64 `json:"value"`
	// StdErr is the standard error of the mean: the sample's standard deviation over √n, as lm-evaluation-harness has
	// it; nil for one thing, which says nothing of how others would differ.
	StdErr *float64 `json:"stderr"`
	// Interval holds the true share with 95 % confidence.
	Interval [2]float64 `json:"interval"`
}

// z95 is the quantile of the normal distribution for 95 % confidence.
const z95 = 1.959963984540054

// ShareOf counts what is right, with Wilson's interval (Wilson 1927), which holds for few and for extreme shares too.
func ShareOf(right []bool) Share {
	n, k := float64(len(right)), 0.0
	for _, r := range right {
		if r {
			k++
		}
	}
	p := k / n
	s := Share{Value: p}
	if n > 1 {
		e := math.Sqrt(p * (1 - p) / (n - 1))
		s.StdErr = &e
	}
	mid := (p + z95*z95/(2*n)) / (1 + z95*z95/n)
	half := z95 / (1 + z95*z95/n) * math.Sqrt(p*(1-p)/n+z95*z95/(4*n*n))
	s.Interval = [2]float64{max(mid-half, 0), min(mid+half, 1)}
	return s
}

// resamples is how often MeanOf draws: the interval's ends then lie within a tenth of a standard error.
const resamples = 2000

// MeanOf is the mean of what is estimated of each thing, with a percentile bootstrap interval (Efron 1979) that the
// seed fixes.
func MeanOf(x []float64, seed uint64) Share {
	n := len(x)
	var means []float64
	draw(n, seed, func(which []int) {
		m := 0.0
		for _, i := range which {
			m += x[i] / float64(n)
		}
		means = append(means, m)
	})
	s := Share{Value: mean(x), Interval: middle(means)}
	if n > 1 {
		ss := 0.0
		for _, v := range x {
			ss += (v - s.Value) * (v - s.Value)
		}
		e := math.Sqrt(ss/float64(n-1)) / math.Sqrt(float64(n))
		s.StdErr = &e
	}
	return s
}

// draw draws n of n things with replacement, many times, as the seed says.
func draw(n int, seed uint64, each func(which []int)) {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	which := make([]int, n)
	for range resamples {
		for i := range which {
			which[i] = r.IntN(n)
		}
		each(which)
	}
}

// middle sorts what draws gave, and says where 95 % of it lie.
func middle(drawn []float64) [2]float64 {
	slices.Sort(drawn)
	n := len(drawn)
	return [2]float64{drawn[n/40], drawn[n-1-n/40]}
}

// shareOf is a figure of several things with what draws among them gave; of one thing there is no standard error.
func shareOf(value float64, n int, drawn []float64) Share {
	s := Share{Value: value, Interval: middle(drawn)}
	if n > 1 {
		m, ss := mean(drawn), 0.0
		for _, x := range drawn {
			ss += (x - m) * (x - m)
		}
		e := math.Sqrt(ss / float64(len(drawn)-1))
		s.StdErr = &e
	}
	return s
}

func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// PassAtK estimates, without bias, how likely one of k answers is right, from n answers of which c are: 1 - C(n-c,
// k)/C(n, k) (Chen et al. 2021, Evaluating Large Language Models Trained on Code, equation 1).
func PassAtK(n, c, k int) float64 {
	if n-c < k {
		return 1
	}
	miss := 1.0
	for i := n - c + 1; i <= n; i++ {
		miss *= 1 - float64(k)/float64(i)
	}
	return 1 - miss
}
