package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSamplesFile: lines are kept up to the step that a run stands at, and no further; what was cut short is written
// again.
func TestSamplesFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "samples.jsonl")
	l, err := OpenSamples(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file without a sample")
	}
	for _, step := range []int{2, 4} {
		for i, input := range []string{"<a>", "b"} {
			if l.Last(input) >= step {
				t.Errorf("step %d, %s: there before it was written", step, input)
			}
			if err := l.Append(Sample{Step: step, Index: i, Input: input}); err != nil {
				t.Fatal(err)
			}
			if got := l.Last(input); got != step {
				t.Errorf("%s: last at step %d, want %d", input, got, step)
			}
		}
	}
	if err := l.Sync(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(whole), `"input":"<a>"`) || !strings.Contains(string(whole), `"expected":null`) {
		t.Errorf("got %s", whole)
	}
	lines := strings.SplitAfter(string(whole), "\n")
	for _, tc := range []struct {
		name, have, want string
		step             int
	}{
		{"all", string(whole), string(whole), 4},
		{"a later step", string(whole), lines[0] + lines[1], 3},
		{"the beginning", string(whole), "", 0},
		{"cut short", string(whole[:len(whole)-5]), lines[0] + lines[1] + lines[2], 4},
		{"damaged", lines[0] + "}\n" + lines[1], lines[0], 4},
	} {
		if err := os.WriteFile(path, []byte(tc.have), 0o666); err != nil {
			t.Fatal(err)
		}
		l, err := OpenSamples(path, tc.step)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != tc.want || len(l.Lines()) != strings.Count(tc.want, "\n") {
			t.Errorf("%s: got %q, %v, want %q", tc.name, got, err, tc.want)
		}
	}
}
