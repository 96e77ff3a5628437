package run

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
)

// started gives what a run said at its start.
func (r *recorder) started(t *testing.T) report.Started {
	t.Helper()
	for _, e := range r.events {
		if s, ok := e.(report.Started); ok {
			return s
		}
	}
	t.Fatal("the run did not start")
	return report.Started{}
}

// TestFitted: settings left to ggtune are chosen for the data and said, stand as values in the run's file, and a
// resumed run keeps them without a word, to the same end.
func TestFitted(t *testing.T) {
	std := config.Default()
	c := pairConfig(t, "dpo")
	c.Steps, c.EvalSplit, c.EvalEvery, c.Dropout = 0, config.Fixed(0.0), config.Fixed(0), 0
	c.LR, c.Packing, c.Accum, c.Epochs, c.SeqLen = std.LR, std.Packing, std.Accum, std.Epochs, std.SeqLen
	straight := c
	straight.Output = filepath.Join(t.TempDir(), "straight")
	rec := &recorder{}
	s, err := Train(t.Context(), straight, rec)
	if err != nil || s.Steps != 120 {
		t.Fatalf("%d steps, %v; want 3 epochs of 40 pairs", s.Steps, err)
	}
	if said := strings.Join(rec.started(t).Chosen, "\n"); !strings.Contains(said, "--lr 5e-05: ") ||
		!strings.Contains(said, "--packing none: ") || !strings.Contains(said, "--accum 1: ") ||
		!strings.Contains(said, "--beta 0.5: ") || strings.Contains(said, "--epochs") || rec.notes() != "" {
		t.Errorf("said %s, notes %q", said, rec.notes())
	}
	text := readFile(t, straight.Output, fileConfig)
	for _, line := range []string{"lr = 5e-05", `packing = "none"`, "accum = 1", "epochs = 3", "beta = 0.5"} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("%s lacks %q:\n%s", fileConfig, line, text)
		}
	}
	stopped(t, c, 2)
	resumed, err := ResumeConfig(c.Output)
	if err != nil {
		t.Fatal(err)
	}
	rec = &recorder{}
	if _, err := Train(t.Context(), *resumed, rec); err != nil {
		t.Fatal(err)
	}
	if said := rec.started(t).Chosen; len(said) > 0 {
		t.Errorf("the resumed run chose %q", said)
	}
	sameResult(t, c.Output, straight.Output)
}

// stopped begins a run that is stopped at a step's checkpoint.
func stopped(t *testing.T, c config.Config, step int) {
	t.Helper()
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	if _, err := Train(ctx, c, &recorder{on: func(e report.Event) {
		if afterStep(step)(e) {
			cancel(stop)
		}
	}}); !errors.Is(err, stop) {
		t.Fatalf("got %v, want the stop", err)
	}
}

// TestResumeBeforeFit: a run from before these settings were fitted to the data goes on as it began, whether its file
// names them or not; the learning rate and β stood in every run's file.
func TestResumeBeforeFit(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	c.Steps, c.EvalSplit, c.EvalEvery = 0, config.Fixed(0.0), config.Fixed(0)
	c.SeqLen, c.Packing, c.Accum, c.Epochs = 16, "best-fit", config.Fixed(4), config.Fixed(3)
	straight := c
	straight.Output = filepath.Join(t.TempDir(), "straight")
	s := mustTrain(t, straight)
	stopped(t, c, 2)
	path := filepath.Join(c.Output, fileConfig)
	text := readFile(t, path)
	for _, key := range []string{"packing", "accum", "epochs"} {
		line := regexp.MustCompile("(?m)^" + key + " = .*\n")
		if !line.MatchString(text) {
			t.Fatalf("%s is not in %s", key, text)
		}
		text = line.ReplaceAllString(text, "")
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	old, err := ResumeConfig(c.Output)
	if err != nil {
		t.Fatal(err)
	}
	rec := &recorder{}
	if got, err := Train(t.Context(), *old, rec); err != nil || got.Steps != s.Steps {
		t.Errorf("%d steps, %v; want %d", got.Steps, err, s.Steps)
	}
	if said := rec.started(t).Chosen; len(said) > 0 {
		t.Errorf("the older run chose %q", said)
	}
	sameResult(t, c.Output, straight.Output)

	first := readFile(t, "testdata/run-v1/run", fileConfig)
	for _, line := range []string{"lr = 0.01", "beta = 0.1"} {
		if !slices.Contains(strings.Split(first, "\n"), line) {
			t.Errorf("the first version's %s lacks %q", fileConfig, line)
		}
	}
}
