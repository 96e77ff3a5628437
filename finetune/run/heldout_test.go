package run

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
)

// afterStep stops a run at a step's checkpoint.
func afterStep(step int) func(report.Event) bool {
	return func(e report.Event) bool {
		s, ok := e.(report.Saved)
		return ok && s.What == "checkpoint" && s.Step == step
	}
}

// TestResumeOldDefaults: a run from before examples were held out goes on as it began, whether its file of settings
// names these options or not.
func TestResumeOldDefaults(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	c.Data = []string{tinyData(t, 120)}
	c.EvalSplit, c.EvalEvery = config.Fixed(0.0), config.Fixed(0)
	mustTrain(t, c)
	want := readFile(t, c.Output, fileAdapter)
	lines := metrics(t, c.Output)
	c.Output = filepath.Join(t.TempDir(), "run")
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	if _, err := Train(ctx, c, &recorder{on: func(e report.Event) {
		if afterStep(2)(e) {
			cancel(stop)
		}
	}}); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	path := filepath.Join(c.Output, fileConfig)
	text := regexp.MustCompile("(?m)^eval_(split|every) = .*\n").ReplaceAllString(readFile(t, path), "")
	if strings.Contains(text, "\neval_split") || strings.Contains(text, "\neval_every") {
		t.Fatalf("the keys are still in %s", text)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	old, err := ResumeConfig(c.Output)
	if err != nil {
		t.Fatal(err)
	}
	s := mustTrain(t, *old)
	got := metrics(t, c.Output)
	if s.Held != nil || len(got) != len(lines) || got[5].Loss != lines[5].Loss ||
		readFile(t, c.Output, fileAdapter) != want {
		t.Errorf("the run did not end as one that was not stopped: held out %+v, %+v, want %+v", s.Held, got[5],
			lines[5])
	}
}

// TestHeldByDefault: of enough examples some are held out and measured on, in the course of the run; of few none, and
// what needs them is refused.
func TestHeldByDefault(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	std := config.Default()
	c.EvalSplit, c.EvalEvery, c.Steps = std.EvalSplit, std.EvalEvery, 20
	rec := &recorder{}
	if s, err := Train(t.Context(), c, rec); err != nil || s.Held != nil ||
		!strings.Contains(rec.notes(), "none of 40 examples is held out, being fewer than 100") {
		t.Errorf("40 examples: held out %+v, %v, notes %q", s.Held, err, rec.notes())
	}
	few := c
	few.Patience, few.Output = 2, filepath.Join(t.TempDir(), "few")
	var wrong *config.Error
	if _, err := Train(t.Context(), few, report.Silent{}); !errors.As(err, &wrong) ||
		!strings.Contains(err.Error(), "--patience is 2; expected held-out examples") {
		t.Errorf("patience with 40 examples: got %v", err)
	}
	if _, err := os.Stat(few.Output); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the output directory was made: %v", err)
	}
	c.Data, c.Output = []string{tinyData(t, 120)}, filepath.Join(t.TempDir(), "run")
	rec = &recorder{}
	s, err := Train(t.Context(), c, rec)
	if err != nil || s.Held == nil || s.Held.Examples != 8 || s.Train.Examples != 112 ||
		!strings.Contains(rec.notes(), "8 of 120 examples are held out") {
		t.Fatalf("120 examples: held out %+v, %v, notes %q", s.Held, err, rec.notes())
	}
	measured := 0
	for _, l := range metrics(t, c.Output) {
		if l.EvalLoss != nil {
			measured++
		}
	}
	if measured != 10 || s.EvalLossBefore == nil || s.EvalLossAfter == nil {
		t.Errorf("measured after %d of 20 steps", measured)
	}
	if s.TenthSteps != 2 || s.FirstTenth == nil || s.LastTenth == nil {
		t.Errorf("tenths of %d steps: %v, %v", s.TenthSteps, s.FirstTenth, s.LastTenth)
	}
}

// TestEvaluationsWithin: a run of few steps measures less often and on fewer rows, and says so; one that goes on and
// is to be longer stays with its rows, whose losses it compares.
func TestEvaluationsWithin(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	c.Data, c.Packing, c.Schedule = []string{tinyData(t, 240)}, "none", "constant"
	c.EvalSplit, c.EvalEvery, c.Accum, c.Steps = config.Default().EvalSplit, config.Default().EvalEvery,
		config.Fixed(1), 8
	rec := &recorder{}
	s, err := Train(t.Context(), c, rec)
	const said = "8 of 12 held-out rows are measured, every 8 steps"
	if err != nil || s.Held.Items != 8 || !strings.Contains(rec.notes(), said) {
		t.Fatalf("held out %+v, %v, notes %q, want %q", s.Held, err, rec.notes(), said)
	}
	for _, l := range metrics(t, c.Output) {
		if (l.EvalLoss != nil) != (l.Step == 8) {
			t.Errorf("step %d: measured: %v", l.Step, l.EvalLoss != nil)
		}
	}
	c.Resume, c.Steps = true, 1000
	r := begun(t, c, func(r *run) {
		if n := r.rows.HeldRows.Rows(); n != 12 {
			t.Errorf("a run of 1,000 steps: %d rows, want 12", n)
		}
	})
	if n := r.rows.HeldRows.Rows(); n != 8 || r.rows.Held.Counts.Items != 8 {
		t.Errorf("a run that goes on: %d rows, want 8", n)
	}
	c.EvalShare, c.Resume, c.Steps, c.Output = 1, false, 8, filepath.Join(t.TempDir(), "all")
	if s, err := Train(t.Context(), c, rec); err != nil || s.Held.Items != 12 {
		t.Errorf("without a limit: held out %+v, %v", s.Held, err)
	}
}
