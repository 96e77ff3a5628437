package run

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/report"
)

// taughtConfig is of a quantized model that learns from the one it was quantized from.
func taughtConfig(t *testing.T) config.Config {
	t.Helper()
	c := tinyConfig(t, gguf.Q4_0)
	c.Method, c.Teacher, c.TeacherTop = "distill", synth.Temp(t, synth.Tiny("llama", gguf.F32)), 8
	return c
}

// teacherRows counts the rows that the teacher was asked about or found in the cache.
func (r *recorder) teacherRows() (rows int) {
	for _, e := range r.events {
		if p, ok := e.(report.Progress); ok && p.What == "teacher" {
			rows = max(rows, p.Done)
		}
	}
	return rows
}

// TestDistill: the distance from the teacher falls, is what Evaluate finds too, and the adapter says who taught it.
func TestDistill(t *testing.T) {
	c := taughtConfig(t)
	rec := &recorder{}
	s, err := Train(t.Context(), c, rec)
	if err != nil {
		t.Fatal(err)
	}
	if !(*s.EvalLossAfter < 0.7**s.EvalLossBefore) {
		t.Errorf("held-out distance %g, before training %g", *s.EvalLossAfter, *s.EvalLossBefore)
	}
	if rows := rec.teacherRows(); rows == 0 {
		t.Error("no pass of the teacher was shown")
	}
	if top := rec.evaluated("top1"); len(top) == 0 || !(top[len(top)-1] > 2*top[0]) {
		t.Errorf("share of the same likeliest token: %v", top)
	}
	e := c
	e.Data, e.EvalData, e.Method = c.Data, nil, "sft"
	e.TeacherTop = 5 // the adapter says 8
	got, err := Evaluate(t.Context(), e, s.Result, func(o string) bool { return o == "teacher" }, report.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Method != "distill" || got.Perplexity-got.Perplexity != 0 || !(got.Loss < *s.EvalLossBefore) {
		t.Errorf("evaluated: %+v", got)
	}
	says(t, s.Result, map[string]string{"ggtune.method": "distill", "ggtune.teacher_top": "8"})
	e.Teacher = ""
	if _, err := Evaluate(t.Context(), e, s.Result, nil, report.Silent{}); err == nil ||
		!strings.Contains(err.Error(), "--teacher is missing with --method distill") {
		t.Errorf("without the teacher: %v", err)
	}
}

// TestDistillResumes: stopped while the teacher is asked, and while it trains, a run ends as one that was not.
func TestDistillResumes(t *testing.T) {
	c := taughtConfig(t)
	straight := c
	straight.Output = filepath.Join(t.TempDir(), "straight")
	mustTrain(t, straight)
	for name, at := range map[string]func(e report.Event) bool{
		"while the teacher is asked": func(e report.Event) bool {
			p, ok := e.(report.Progress)
			return ok && p.What == "teacher" && p.Done == 3
		},
		"after step 3": func(e report.Event) bool { s, ok := e.(report.Step); return ok && s.Step == 3 },
	} {
		t.Run(name, func(t *testing.T) {
			c := c
			c.Output = filepath.Join(t.TempDir(), "run")
			stopAndResume(t, c, at, nil)
			sameResult(t, c.Output, straight.Output)
		})
	}
}

// TestTeacherCache: what the teacher said is taken from the file, under its key only; a file of another kind stays.
func TestTeacherCache(t *testing.T) {
	c := taughtConfig(t)
	c.RefCache = filepath.Join(t.TempDir(), "said.bin")
	mustTrain(t, c)
	cache := readFile(t, c.RefCache)
	for name, tt := range map[string]struct {
		change func(c *config.Config)
		note   string
	}{
		"the same":          {func(*config.Config) {}, ""},
		"another loss rate": {func(c *config.Config) { c.LR = config.Fixed(1e-3) }, ""},
		"another teacher": {func(c *config.Config) { c.Teacher = synth.Temp(t, synth.Tiny("llama", gguf.F16)) },
			"for another teacher; they are made anew"},
		"more tokens": {func(c *config.Config) { c.TeacherTop = 9 }, "for another number of tokens (--teacher-top)"},
		"exact":       {func(c *config.Config) { c.Exact = true }, "for other settings of rows"},
	} {
		t.Run(name, func(t *testing.T) {
			c := c
			c.Output, c.RefCache = filepath.Join(t.TempDir(), "run"), filepath.Join(t.TempDir(), "said.bin")
			if err := os.WriteFile(c.RefCache, []byte(cache), 0o666); err != nil {
				t.Fatal(err)
			}
			tt.change(&c)
			rec := &recorder{}
			if _, err := Train(t.Context(), c, rec); err != nil {
				t.Fatal(err)
			}
			if notes := rec.notes(); tt.note == "" && strings.Contains(notes, "teacher") ||
				!strings.Contains(notes, tt.note) {
				t.Errorf("notes %q, want %q", notes, tt.note)
			}
			if tt.note == "" && readFile(t, c.RefCache) != cache {
				t.Error("the file was written again")
			}
		})
	}
	c.Output, c.RefCache = filepath.Join(t.TempDir(), "run"), c.Data[0]
	content := readFile(t, c.RefCache)
	if _, err := Train(t.Context(), c, report.Silent{}); err == nil || !strings.Contains(err.Error(), "--ref-cache") ||
		readFile(t, c.RefCache) != content {
		t.Errorf("somebody's own file: %v", err)
	}
}

// TestKnownTeacherIsNotAsked: where all is known no session of the teacher is opened.
func TestKnownTeacherIsNotAsked(t *testing.T) {
	r := begun(t, taughtConfig(t), func(*run) {})
	from := &teacherModel{} // of no model: opening it would fail
	if err := errors.Join(r.lessons.train.learn(t.Context(), from, r.rows.TrainRows, 4, func(int) {}),
		r.lessons.held.learn(t.Context(), from, r.rows.HeldRows, 4, func(int) {})); err != nil || from.sess != nil {
		t.Errorf("asked again: %v", err)
	}
	m, _, err := r.rows.TrainRows.Next(encode.Cursor{})
	if err != nil {
		t.Fatal(err)
	}
	said, err := r.lessons.train.said(m)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(said.LogP); at += said.Top + 1 {
		sum := 0.0
		for _, lp := range said.LogP[at : at+said.Top+1] {
			sum += math.Exp(lp)
		}
		if !(math.Abs(sum-1) < 1e-5) {
			t.Errorf("what the teacher says of a token adds up to %g", sum)
		}
	}
}

// TestTeacherRefused: another vocabulary, and another teacher than a run began with.
func TestTeacherRefused(t *testing.T) {
	c := taughtConfig(t)
	other := synth.Tiny("llama", gguf.F32)
	other.Vocab = 340
	c.Teacher = synth.Temp(t, other)
	if _, err := Train(t.Context(), c, report.Silent{}); err == nil || !strings.Contains(err.Error(), "tokens, and") {
		t.Errorf("more tokens: %v", err)
	}
	c = taughtConfig(t)
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

// says wants an adapter to have texts in its metadata.
func says(t *testing.T, path string, texts map[string]string) {
	t.Helper()
	a, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for key, want := range texts {
		if text, err := a.StringOr(key, ""); text != want || err != nil {
			t.Errorf("%s is %q, %v", key, text, err)
		}
	}
}
