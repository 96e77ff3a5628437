package bm25

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// TestRecorded: scores are those of the library bm25s (scripts/record_ranking.py).
func TestRecorded(t *testing.T) {
	const rounded = 1e-6 // theirs are numbers of 32 bits
	b, err := os.ReadFile("testdata/scores.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Documents, Queries []string
		Scores             [][]float64
	}
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	x, found := New(want.Documents), 0
	for i, q := range want.Queries {
		for d, got := range x.Scores(q) {
			if math.Abs(got-want.Scores[i][d]) > rounded {
				t.Errorf("%q, document %d: got %g, want %g", q, d, got, want.Scores[i][d])
			}
			if got > 0 {
				found++
			}
		}
	}
	if found < 10 {
		t.Errorf("%d scores above 0", found)
	}
}

// TestNothing: an index of nothing, or of texts without words, finds nothing.
func TestNothing(t *testing.T) {
	if got := New(nil).Scores("a"); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	if got := New([]string{"", "…"}).Scores("a"); len(got) != 2 || got[0] != 0 || got[1] != 0 {
		t.Errorf("got %v", got)
	}
}
