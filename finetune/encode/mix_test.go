package encode

import (
	"math"
	"slices"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/method"
)

// TestFill: items are left out, or come again, until their counted tokens are as near as they can be.
func TestFill(t *testing.T) {
	for _, tc := range []struct {
		name    string
		goal    int
		passes  float64
		counted int
	}{
		{"fewer", 35, 3.0 / 10, 33}, // 11 each
		{"at least one", 1, 1.0 / 10, 11},
		{"all", 110, 1, 110},
		{"more", 300, 2.7, 297},
		{"nearest", 304, 2.8, 308},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, err := NewDataset(method.Answers, Limits{SeqLen: 16})
			if err != nil {
				t.Fatal(err)
			}
			for i := range 12 { // two of its own
				counted := slices.Repeat([]bool{true}, 12)
				counted[0] = false
				d.Add(Item{Source: data.Source{File: "x", Line: i + 1}, Tokens: slices.Repeat([]int32{int32(i)}, 12),
					Counted: counted, Segments: []engine.Segment{{Len: 12, Parent: -1}}})
			}
			passes := d.Fill(2, tc.goal, 1)
			if math.Abs(passes-tc.passes) > 1e-9 || d.Counts.Counted-22 != tc.counted ||
				d.Counts.Items != len(d.Items) || d.Counts.Tokens != 12*len(d.Items) {
				t.Errorf("passes %g, counts %+v of %d items; want %g and %d counted", passes, d.Counts, len(d.Items),
					tc.passes, tc.counted)
			}
			seen := map[int32]int{}
			for _, it := range d.Items {
				seen[it.Tokens[0]]++
			}
			if seen[0] != 1 || seen[1] != 1 {
				t.Errorf("what was there before is there %d and %d times", seen[0], seen[1])
			}
			for i, n := range seen {
				if i > 1 && (n > int(passes+1) || n < int(passes)) {
					t.Errorf("item %d comes %d times in %g passes", i, n, passes)
				}
			}
		})
	}
}
