package eval

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
)

// recorded are figures of other tools (scripts/record_ranking.py).
type recorded struct {
	Rankings []struct {
		Scores []float64
		Grades []float64
		Want   map[string]float64
	}
	Correlations []struct {
		X, Y, Ranks       []float64
		Spearman, Pearson float64
	}
}

func readRecorded(t *testing.T) (r recorded) {
	t.Helper()
	b, err := os.ReadFile("testdata/ranking.json")
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRecordedRankings: the figures are trec_eval's.
func TestRecordedRankings(t *testing.T) {
	for i, tc := range readRecorded(t).Rankings {
		relevant := map[int]float64{}
		for d, g := range tc.Grades {
			relevant[d] = g
		}
		r := Rank(tc.Scores, relevant, -1)
		for _, m := range Measures() {
			if got, want := m.Of(r), tc.Want[m.Name]; !near(got, want, 1e-12) {
				t.Errorf("case %d, %s: got %g, want %g", i, m.Name, got, want)
			}
		}
	}
}

// TestRank: equal scores are shared out evenly, and what is left out stands nowhere.
func TestRank(t *testing.T) {
	scores := []float64{3, 2, 2, 2, 2, 1, 9}
	for _, tc := range []struct {
		name     string
		relevant map[int]float64
		want     Ranking
	}{
		{"one among equals", map[int]float64{2: 1}, Ranking{{3.5, 1}}},
		{"two among equals", map[int]float64{2: 1, 3: 2}, Ranking{{3, 2}, {4, 1}}},
		{"first and last", map[int]float64{5: 1, 0: 1, 1: 0}, Ranking{{1, 1}, {6, 1}}},
		{"left out", map[int]float64{6: 1}, Ranking{}},
	} {
		got := Rank(scores, tc.relevant, 6)
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
	if got := Rank(scores[1:5], map[int]float64{0: 1, 1: 1, 2: 1, 3: 1}, -1).AveragePrecision(); got != 1 {
		t.Errorf("nothing but relevant documents: average precision %g", got)
	}
}
