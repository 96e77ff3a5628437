package run

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/budget"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
)

// gkdConfig is of a quantized model that learns, on its own answers, from the one it was quantized from.
func gkdConfig(t *testing.T) config.Config {
	t.Helper()
	c := rollConfig(t, "gkd")
	c.Model, c.Teacher = synth.Temp(t, synth.Tiny("llama", gguf.Q4_0)), synth.Temp(t, synth.Tiny("llama", gguf.F32))
	c.Reward, c.TeacherTop, c.LR = nil, 8, config.Fixed(1e-2)
	return c
}

// tinyAnswers is a JSONL file of prompts with answers, but for the first.
func tinyAnswers(t *testing.T, n int) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintln(&b, `{"prompt": "the number that nobody knows is", "completion": ""}`)
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, `{"prompt": "the number %d is", "completion": " %d, and what a fine number it is"}`+"\n", i, i)
	}
	path := filepath.Join(t.TempDir(), "answers.jsonl")
	if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestGKD: with each divergence the distance from the teacher falls on held-out answers, is what Evaluate finds too,
// and the adapter says who taught it.
func TestGKD(t *testing.T) {
	for _, beta := range []float64{0, 0.5, 1} {
		c := gkdConfig(t)
		c.Steps, c.EvalEvery, c.SampleEvery = 12, config.Fixed(6), config.Fixed(6)
		c.Settings = map[string]float64{"beta": beta}
		rec := &recorder{}
		s, err := Train(t.Context(), c, rec)
		if err != nil {
			t.Fatal(err)
		}
		if !(*s.EvalLossAfter < 0.8**s.EvalLossBefore) {
			t.Errorf("beta %g: held-out distance %g, before training %g", beta, *s.EvalLossAfter, *s.EvalLossBefore)
		}
		lines := metrics(t, c.Output)
		for _, name := range []string{"nll", "top1", "answer_len", "ended"} {
			if _, ok := lines[0].Figures[name]; !ok {
				t.Errorf("step 1 has no figure %s: %v", name, lines[0].Figures)
			}
		}
		shown := 0
		for _, e := range rec.events {
			if x, ok := e.(report.Sampled); ok {
				if shown++; x.Why != "random" || x.Reward != nil || x.Rewards != nil {
					t.Errorf("an answer that nothing rewards is shown as %+v", x)
				}
			}
		}
		if shown != 2 {
			t.Errorf("%d answers are shown, want one every 6 steps", shown)
		}
		if plot := readFile(t, c.Output, filePlot); !strings.Contains(plot, "loss of gkd") {
			t.Error("the plot is not of the loss")
		}
		if beta == 1 {
			sameDistance(t, c, s)
		}
	}
}

// sameDistance wants Evaluate to find, in the answers to a run's training prompts, less distance with its adapter than
// without.
func sameDistance(t *testing.T, c config.Config, s report.Summary) {
	t.Helper()
	e := c
	e.EvalSplit, e.TeacherTop, e.MaxCompletion = config.Default().EvalSplit, 5, 20 // the adapter says 8, and 12
	given := func(o string) bool { return o == "teacher" }
	with, err := Evaluate(t.Context(), e, s.Result, given, report.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	e.TeacherTop, e.MaxCompletion = 8, 12
	without, err := Evaluate(t.Context(), e, "", given, report.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	if with.Method != "gkd" || !math.IsNaN(with.Perplexity) || !(with.Loss < 0.8*without.Loss) || with.Rows != 40 ||
		with.Counted > 40*12 {
		t.Errorf("evaluated: %+v, and without the adapter %g", with, without.Loss)
	}
	says(t, s.Result, map[string]string{"ggtune.method": "gkd", "ggtune.teacher_top": "8", "ggtune.lmbda": "1"})
	e.Teacher = ""
	if _, err := Evaluate(t.Context(), e, s.Result, nil, report.Silent{}); err == nil ||
		!strings.Contains(err.Error(), "--teacher is missing with --method gkd") {
		t.Errorf("without the teacher: %v", err)
	}
}

// TestGKDGiven: of a share of the prompts the data's own answers are learned from, where there is one; of a share of 0
// of all.
func TestGKDGiven(t *testing.T) {
	for _, lmbda := range []float64{0, 0.5} {
		c := gkdConfig(t)
		c.Data, c.Lmbda, c.Steps = []string{tinyAnswers(t, 40)}, lmbda, 18
		c.NumGenerations, c.EvalSplit, c.EvalEvery = config.Fixed(1), config.Fixed(0.1), config.Fixed(0)
		rec := &recorder{}
		s, err := Train(t.Context(), c, rec)
		if err != nil {
			t.Fatal(err)
		}
		if !(*s.EvalLossAfter < 0.9**s.EvalLossBefore) {
			t.Errorf("held-out distance %g, before training %g", *s.EvalLossAfter, *s.EvalLossBefore)
		}
		if notes := rec.notes(); !strings.Contains(notes, "1 of 40 prompts have no answer in the data") ||
			!strings.Contains(notes, "answers of the data cut to 12 tokens") {
			t.Errorf("notes: %s", notes)
		}
		own := 0.0
		for _, l := range metrics(t, c.Output) {
			own += l.Figures["on_policy"]
		}
		own /= float64(c.Steps)
		if lmbda == 0 && !(own > 0 && own < 0.1) || lmbda > 0 && !(own > 0.3 && own < 0.7) {
			t.Errorf("--lmbda %g: the model answered %g of the prompts itself", lmbda, own)
		}
	}
	c := gkdConfig(t)
	c.Lmbda = 0.5
	if _, err := Train(t.Context(), c, report.Silent{}); err == nil ||
		!strings.Contains(err.Error(), "--lmbda is 0.5, and the data has no answer") {
		t.Errorf("of data without answers: %v", err)
	}
}

// TestGKDResumed: stopped anywhere, a run ends as one that was not.
func TestGKDResumed(t *testing.T) {
	c := gkdConfig(t)
	c.Data, c.Lmbda, c.Steps, c.SaveEvery, c.NumMiniBatches = []string{tinyAnswers(t, 40)}, 0.5, 9, 2, 2
	straight := c
	straight.Output = filepath.Join(t.TempDir(), "straight")
	mustTrain(t, straight)
	for name, at := range map[string]func(e report.Event) bool{
		"while answers are written": func(e report.Event) bool {
			p, ok := e.(report.Progress)
			return ok && p.What == "write answers" && p.Done > 0
		},
		"within a rollout": func(e report.Event) bool { s, ok := e.(report.Step); return ok && s.Step == 3 },
		"after one":        func(e report.Event) bool { s, ok := e.(report.Step); return ok && s.Step == 4 },
	} {
		t.Run(name, func(t *testing.T) {
			c := c
			c.Output = filepath.Join(t.TempDir(), "run")
			stopAndResume(t, c, at, nil)
			sameResult(t, c.Output, straight.Output)
		})
	}
}

// TestGKDRefused: another vocabulary is, before anything is written, and another teacher than a run began with.
func TestGKDRefused(t *testing.T) {
	c := gkdConfig(t)
	other := synth.Tiny("llama", gguf.F32)
	other.Vocab = 340
	c.Teacher = synth.Temp(t, other)
	if _, err := Train(t.Context(), c, report.Silent{}); err == nil || !strings.Contains(err.Error(), "tokens, and") {
		t.Errorf("more tokens: %v", err)
	}
	if _, err := os.Stat(c.Output); err == nil {
		t.Error("it left a directory")
	}
	c = gkdConfig(t)
	c.Steps = 2
	mustTrain(t, c)
	again, err := ResumeConfig(c.Output)
	if err != nil {
		t.Fatal(err)
	}
	again.Teacher = synth.Temp(t, synth.Tiny("llama", gguf.F16))
	if _, err := Train(t.Context(), *again, report.Silent{}); err == nil ||
		!strings.Contains(err.Error(), "is not the one the run began with") {
		t.Errorf("another teacher: %v", err)
	}
}

// TestGKDPlanned: a plan knows what the teacher takes, and the time of its passes.
func TestGKDPlanned(t *testing.T) {
	c := gkdConfig(t)
	f, err := budget.NewForecast(t.Context(), c, true)
	if err != nil {
		t.Fatal(err)
	}
	sum := f.ParamBytes + f.OptimizerBytes + f.WorkBytes + f.ActivationBytes + f.RolloutBytes + f.TeacherWorkBytes
	if f.TeacherWorkBytes == 0 || f.TotalBytes != sum || f.TeacherBytes != nil || f.TeacherFileBytes == 0 ||
		f.ReferenceSeconds == nil || !(*f.ReferenceSeconds > 0) {
		t.Errorf("planned: %+v", f)
	}
	c.Batch = 4
	more, err := budget.NewForecast(t.Context(), c, false)
	if err != nil || more.TeacherWorkBytes <= f.TeacherWorkBytes {
		t.Errorf("a larger micro-batch takes %d bytes of the teacher, after %d: %v", more.TeacherWorkBytes,
			f.TeacherWorkBytes, err)
	}
}
