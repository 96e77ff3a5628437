package eval

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestRecordedCorrelations: the figures are scipy's.
func TestRecordedCorrelations(t *testing.T) {
	for i, tc := range readRecorded(t).Correlations {
		once := slices.Repeat([]int{1}, len(tc.X))
		if got := drawnRanks(tc.X)(once); !slices.Equal(got, tc.Ranks) {
			t.Errorf("case %d: ranks %v, want %v", i, got, tc.Ranks)
		}
		for _, c := range Correlates() {
			want := map[string]float64{"spearman": tc.Spearman, "pearson": tc.Pearson}[c.Name]
			got, _ := c.Correlate(tc.Y, 1, tc.X)
			if !near(got[0].Value, want, 1e-12) {
				t.Errorf("case %d, %s: got %g, want %g", i, c.Name, got[0].Value, want)
			}
		}
	}
}

// TestDrawnRanks: a draw's ranks are those of the list that is drawn.
func TestDrawnRanks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	x := make([]float64, 40)
	for i := range x {
		x[i] = float64(r.IntN(12))
	}
	draws := 0
	draw(len(x), 1, func(which []int) {
		if draws++; draws > 20 {
			return
		}
		times := make([]int, len(x))
		list := make([]float64, len(x))
		for k, i := range which {
			times[i]++
			list[k] = x[i]
		}
		got, want := drawnRanks(x)(times), drawnRanks(list)(slices.Repeat([]int{1}, len(x)))
		for k, i := range which {
			if got[i] != want[k] {
				t.Fatalf("got rank %g of number %g, want %g", got[i], x[i], want[k])
			}
		}
	})
}

// TestCorrelateChange: of two lists the change is that between them, and known better than either where they are alike.
func TestCorrelateChange(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	given, worse, better := make([]float64, 200), make([]float64, 200), make([]float64, 200)
	for i := range given {
		given[i] = r.Float64()
		better[i] = given[i] + 0.2*r.NormFloat64()
		worse[i] = better[i] + 0.1*r.NormFloat64()
	}
	for _, c := range Correlates() {
		each, change := c.Correlate(given, 1, worse, better)
		if !near(change.Value, each[1].Value-each[0].Value, 1e-15) || !(change.Interval[0] > 0) ||
			!(*change.StdErr < *each[0].StdErr) {
			t.Errorf("%s: got %+v of %+v", c.Name, change, each)
		}
		if _, change := c.Correlate(given, 1, worse); change != nil {
			t.Errorf("%s: a change of one list: %+v", c.Name, change)
		}
	}
}
