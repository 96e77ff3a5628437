package corpus

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/config"
)

// mixFile writes n documents of some words each.
func mixFile(t *testing.T, n, words int) string {
	t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"text": "%s %d"}`+"\n", strings.Repeat("a b ", words), i)
	}
	path := filepath.Join(t.TempDir(), "old.jsonl")
	if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func ownLines(n int) (lines []string) {
	for i := range n {
		lines = append(lines, fmt.Sprintf(`{"prompt": "what is number %d", "completion": " c%d"}`, i, i))
	}
	return lines
}

// TestMix: what is mixed in makes its share of the counted tokens, of a larger and of a smaller file; part of it is
// held out and not trained on; the seed draws.
func TestMix(t *testing.T) {
	large, small := mixFile(t, 400, 3), mixFile(t, 6, 2)
	read := func(seed uint64) *Rows {
		_, r, err := textOf(t, barTemplate, func(c *config.Config) {
			c.Mix = []string{large + ":0.25", small + ":0.3"}
			c.EvalSplit, c.Seed, c.Packing = config.Fixed(0.1), seed, "best-fit"
		}, ownLines(80)...)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := read(1)
	counted := map[string]int{}
	held, trained := map[int]bool{}, map[int]bool{}
	for i := range r.TrainRows.Rows() {
		for _, it := range r.TrainRows.Row(i) {
			counted[it.Source.File] += it.NumCounted()
			if it.Source.File == large {
				trained[it.Source.Line] = true
			}
		}
	}
	for _, it := range r.Mixed[0].Held.Items {
		held[it.Source.Line] = true
	}
	for i, want := range []float64{0.25, 0.3} {
		m := r.Mixed[i]
		if got := float64(counted[m.File]) / float64(r.Train.Counts.Counted); math.Abs(got-want) > 0.02 ||
			got != m.Got || m.Counted != counted[m.File] {
			t.Errorf("%s makes %g of the counted tokens, and says %g; want %g", m.File, got, m.Got, want)
		}
	}
	if m := r.Mixed[0]; m.Passes != 1 && m.Passes > 1 || m.Drawn >= 360 || m.HeldExamples != 40 || len(held) != 40 ||
		m.HeldRows.Rows() == 0 {
		t.Errorf("the larger file: %+v", m.Mixed)
	}
	if m := r.Mixed[1]; !(m.Passes > 1) || m.Drawn != 5 || m.HeldExamples != 1 {
		t.Errorf("the smaller file: %+v", m.Mixed)
	}
	for line := range held {
		if trained[line] {
			t.Errorf("line %d is held out and trained on", line)
		}
	}
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, "mixed in: "+large) ||
		!strings.Contains(notes, "times an epoch") {
		t.Errorf("notes %q", notes)
	}
	if again := read(1); again.Train.Fingerprint() != r.Train.Fingerprint() {
		t.Error("the same seed draws others")
	}
	if other := read(2); other.Train.Fingerprint() == r.Train.Fingerprint() {
		t.Error("another seed draws the same")
	}
}

// TestMixHeld: of what is mixed in as much is held out as of the data, up to a number, and nothing where that has
// nothing.
func TestMixHeld(t *testing.T) {
	for _, tc := range []struct {
		name  string
		split config.Auto[float64]
		own   int
		want  int
	}{
		{"auto", config.Auto[float64]{Auto: true}, 100, 15},
		{"auto, with nothing of its own", config.Auto[float64]{Auto: true}, 50, 0},
		{"none", config.Fixed(0.0), 100, 0},
		{"a fraction", config.Fixed(0.2), 20, 60},
		{"a large one", config.Fixed(0.9), 20, 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, r, err := textOf(t, barTemplate, func(c *config.Config) {
				c.Mix, c.EvalSplit = []string{mixFile(t, 300, 1) + ":0.1"}, tc.split
			}, ownLines(tc.own)...)
			if err != nil {
				t.Fatal(err)
			}
			if m := r.Mixed[0]; m.HeldExamples != tc.want || (m.HeldRows != nil) != (tc.want > 0) {
				t.Errorf("%d held out, want %d", m.HeldExamples, tc.want)
			}
		})
	}
}

// TestMixRefused: a file of which nothing is left, or that is not there, is named.
func TestMixRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "long.jsonl")
	long := fmt.Sprintf(`{"prompt": %q, "completion": " c"}`, strings.Repeat("word ", 600))
	if err := os.WriteFile(path, []byte(long), 0o666); err != nil {
		t.Fatal(err)
	}
	for mix, want := range map[string]string{
		path + ":0.1":           path + ": nothing is left of its 1 example to mix in",
		path + "x:0.1":          "--mix: ",
		mixFile(t, 1, 1) + ":1": `the share is "1"; expected above 0 and below 1`,
	} {
		_, _, err := textOf(t, "", func(c *config.Config) { c.Mix = []string{mix} }, ownLines(3)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", mix, err, want)
		}
	}
}
