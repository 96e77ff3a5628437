package eval

import (
	"math"
	"math/rand/v2"
	"testing"
)

func near(a, b, within float64) bool { return math.Abs(a-b) <= within }

// TestShareOf: the ends of Wilson's interval are those shares from which the one found is as far as 95 % of all
// samples are: (p̂ - p)² = z²·p·(1 - p)/n.
func TestShareOf(t *testing.T) {
	for _, tc := range []struct {
		k, n   int
		stderr float64 // √(Σ(x - mean)²/(n - 1))/√n
	}{{0, 10, 0}, {10, 10, 0}, {5, 10, 1. / 6}, {15, 50, 0.0654653671}, {1, 1, 0}} {
		right := make([]bool, tc.n)
		for i := range tc.k {
			right[i] = true
		}
		s := ShareOf(right)
		n, p := float64(tc.n), float64(tc.k)/float64(tc.n)
		const rounded = 1e-9
		if !near(s.Value, p, 0) || (s.StdErr == nil) != (tc.n == 1) ||
			tc.n > 1 && !near(*s.StdErr, tc.stderr, rounded) {
			t.Errorf("%d of %d: got %+v, want %g, standard error %g", tc.k, tc.n, s, p, tc.stderr)
		}
		for i, end := range s.Interval {
			if !near((p-end)*(p-end), z95*z95*end*(1-end)/n, rounded) || i == 0 && end > p || i == 1 && end < p ||
				end == p && p != float64(i) {
				t.Errorf("%d of %d: %g is no end of the interval", tc.k, tc.n, end)
			}
		}
	}
}

// TestMeanOf: the interval is that of the normal distribution where there are many, and fixed by the seed.
func TestMeanOf(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	x := make([]float64, 400)
	for i := range x {
		x[i] = r.Float64()
	}
	s := MeanOf(x, 1)
	if half := z95 * *s.StdErr; !near(s.Interval[0], s.Value-half, half/8) ||
		!near(s.Interval[1], s.Value+half, half/8) {
		t.Errorf("got %+v, want %g around the mean", s, half)
	}
	if again := MeanOf(x, 1); *again.StdErr != *s.StdErr || again.Value != s.Value || again.Interval != s.Interval {
		t.Errorf("got %+v, then %+v", s, again)
	}
	if s := MeanOf([]float64{1}, 1); s.StdErr != nil || s.Interval != [2]float64{1, 1} {
		t.Errorf("of one: %+v", s)
	}
	if s := ShareOf([]bool{true}); s.StdErr != nil {
		t.Errorf("of one: %+v", s)
	}
}

// TestPassAtK: the share of draws of k answers out of n that hold a right one, counted one by one.
func TestPassAtK(t *testing.T) {
	for n := 1; n <= 7; n++ {
		for c := 0; c <= n; c++ {
			for k := 1; k <= n; k++ {
				draws, passed := 0, 0
				for set := range 1 << n {
					size, right := 0, false
					for i := range n {
						if set>>i&1 == 1 {
							size++
							right = right || i < c
						}
					}
					if size == k {
						draws++
						if right {
							passed++
						}
					}
				}
				if got, want := PassAtK(n, c, k), float64(passed)/float64(draws); !near(got, want, 1e-12) {
					t.Errorf("n %d, c %d, k %d: got %g, want %g", n, c, k, got, want)
				}
			}
		}
	}
}
