package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rewardedLine is a step of a run by rewards.
func rewardedLine(step int) Line {
	x := float64(step)
	l := Line{Step: step, Loss: 0.1 / x, TokPerS: 900, Tokens: 4000, Peak: 9e8, Figures: map[string]float64{
		"reward": 0.5 + x/100, "reward_exact": x / 100, "reward_length_2": -0.1, "reward_std": 0.2, "reward_seconds": 1,
		"entropy": 2 - x/50, "signal": 0.75, "answer_len": 45.2, "ended": 0.9, "clip_frac": 0.01, "mismatch": 0.06,
		"rollout_tok_per_s": 150, "ratio": 1}}
	if step%4 == 0 {
		loss := -0.5
		l.EvalLoss, l.Figures["eval_reward"] = &loss, 0.5
	}
	return l
}

// TestFigures: what a run has of the figures is shown, the rewards apart behind their sum; a run without rewards has
// none.
func TestFigures(t *testing.T) {
	var names []string
	for _, f := range Figures([]Line{{Step: 1}, rewardedLine(2)}) {
		names = append(names, f.Name)
	}
	want := []string{"reward", "reward_exact", "reward_length_2", "entropy", "answer_len", "ended", "signal",
		"clip_frac", "mismatch", "rollout_tok_per_s"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	if got := Figures([]Line{lineOf(1)}); got != nil {
		t.Errorf("of a run without rewards: %v", got)
	}
	docs, err := os.ReadFile("../../docs/rlhf.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append([]Figure{}, ofRewards...) {
		if !bytes.Contains(docs, []byte("`"+f.Name+"`")) {
			t.Errorf("docs/rlhf.md does not say what %s is", f.Name)
		}
	}
	for _, name := range notApart {
		if !bytes.Contains(docs, []byte("`"+name+"`")) {
			t.Errorf("docs/rlhf.md does not say what %s is", name)
		}
	}
}

// TestWriteFigures: each figure has a panel with its curves; without rewards there is no file.
func TestWriteFigures(t *testing.T) {
	path := filepath.Join(t.TempDir(), "figures.svg")
	if err := WriteFigures(path, "run", []Line{lineOf(1)}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a run without rewards has a file of figures: %v", err)
	}
	var lines []Line
	for i := range 8 {
		lines = append(lines, rewardedLine(i+1))
	}
	for _, n := range []int{1, 8} {
		if err := WriteFigures(path, "run\u202e <b>", lines[:n], map[string]float64{"reward": 0.25}); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		dec := xml.NewDecoder(bytes.NewReader(raw))
		for {
			if _, err := dec.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%d steps: not XML: %v", n, err)
			}
		}
		for _, f := range Figures(lines) {
			if !bytes.Contains(raw, []byte(">"+f.Title+"</text>")) {
				t.Errorf("%d steps: no panel %q", n, f.Title)
			}
		}
		if !strings.Contains(string(raw), `>run\u202e &lt;b&gt;</text>`) {
			t.Errorf("%d steps: no title that turns no text round", n)
		}
		// Held out is the base of nothing but the reward, and what was measured at two steps: that many dots.
		_, drawn, _ := strings.Cut(string(raw), "</style>")
		if dots, want := strings.Count(drawn, "fill:"+hex(held.light)), map[int]int{1: 1, 8: 3}[n]; dots != want {
			t.Errorf("%d steps: %d dots of what is held out, want %d", n, dots, want)
		}
	}
}
