package run

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/internal/atomicfile/faultfs"
	"github.com/ggtune/ggtune/internal/setting"
)

// begun opens a run and its directory.
func begun(t *testing.T, c config.Config, change func(r *run)) *run {
	t.Helper()
	r := &run{setup: setup{cfg: c}, rep: report.Silent{}}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	if err := r.open(t.Context(), r.rep); err != nil {
		t.Fatal(err)
	}
	change(r)
	if err := r.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

// stopAndResume stops a run at the first event that at picks, asks then about what it left, and has it go on to its
// end.
func stopAndResume(t *testing.T, c config.Config, at func(report.Event) bool, then func()) {
	t.Helper()
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	_, err := Train(ctx, c, &recorder{on: func(e report.Event) {
		if at(e) {
			cancel(stop)
		}
	}})
	if !errors.Is(err, stop) {
		t.Fatalf("interrupted: got %v", err)
	}
	if then != nil {
		then()
	}
	resumed, err := ResumeConfig(c.Output)
	if err != nil {
		t.Fatal(err)
	}
	mustTrain(t, *resumed)
}

// sameResult wants the adapter and the metrics of a run to be those of another.
func sameResult(t *testing.T, got, want string) {
	t.Helper()
	if readFile(t, got, fileAdapter) != readFile(t, want, fileAdapter) {
		t.Error("the adapter is not that of a straight run")
	}
	if g, w := metrics(t, got), metrics(t, want); !reflect.DeepEqual(g, w) {
		t.Errorf("metrics:\n%+v, want\n%+v", g, w)
	}
}

// TestInterruptAndResume stops a run at several events, resumes it, and wants everything it leaves equal to what a
// straight run leaves.
func TestInterruptAndResume(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	straight := c
	straight.Output = filepath.Join(t.TempDir(), "straight")
	mustTrain(t, straight)
	half := 0
	for name, at := range map[string]func(e report.Event) bool{
		"before the first step": func(e report.Event) bool { _, ok := e.(report.Started); return ok },
		"within step 2, its gradients half summed": func(e report.Event) bool {
			p, ok := e.(report.Progress)
			if ok && p.What == "train" && p.Done == 1 {
				half++
			}
			return half == 2
		},
		"after step 1": func(e report.Event) bool { s, ok := e.(report.Step); return ok && s.Step == 1 },
		"after step 3, before its evaluation": func(e report.Event) bool {
			s, ok := e.(report.Step)
			return ok && s.Step == 3
		},
		"after the evaluation of step 3": func(e report.Event) bool {
			s, ok := e.(report.Evaluated)
			return ok && s.Step == 3
		},
		"after the last step": func(e report.Event) bool {
			s, ok := e.(report.Step)
			return ok && s.Step == 6
		},
		"while verifying": func(e report.Event) bool {
			p, ok := e.(report.Progress)
			return ok && p.What == "verify"
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := c
			c.Output = filepath.Join(t.TempDir(), "run")
			stopAndResume(t, c, at, nil)
			sameResult(t, c.Output, straight.Output)
		})
	}
}

// TestResumeOlderFull: a checkpoint of full training from before llama.cpp's distance from the base was kept as it is
// now, when it was one number under another name, is gone on from as any other.
func TestResumeOlderFull(t *testing.T) {
	c := tinyConfig(t, gguf.F16)
	c.Full, c.Dropout, c.Rank, c.LR = true, 0, config.Default().Rank, config.Fixed(1e-3)
	straight := c
	straight.Output = filepath.Join(t.TempDir(), "straight")
	mustTrain(t, straight)
	at := func(e report.Event) bool { s, ok := e.(report.Step); return ok && s.Step == 1 }
	stopAndResume(t, c, at, func() {
		f, id, _, err := (&checkpoint.Store{Dir: filepath.Join(c.Output, dirCheckpoints)}).Latest()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var m map[string]any
		if err := f.Meta(&m); err != nil {
			t.Fatal(err)
		}
		if m["base_distance"] == nil {
			t.Fatal("the checkpoint holds no distance")
		}
		delete(m, "base_distance")
		m["base_diff"] = 0.01
		shapes := begun(t, straight, func(r *run) { r.cfg.Output = filepath.Join(t.TempDir(), "other") })
		tensors := shapes.tensors(id.Micros > 0)
		if err := f.Read(tensors); err != nil {
			t.Fatal(err)
		}
		if err := checkpoint.WriteFile(nil, filepath.Join(c.Output, dirCheckpoints, id.String(), "state.bin"), m,
			tensors); err != nil {
			t.Fatal(err)
		}
	})
	if readFile(t, c.Output, fileModel) != readFile(t, straight.Output, fileModel) {
		t.Error("the model is not that of a straight run")
	}
}

// TestResumeRules: what a resumed run may change, and what is refused and why.
func TestResumeRules(t *testing.T) {
	base := tinyConfig(t, gguf.F32)
	base.Schedule, base.Settings, base.Steps, base.EvalEvery = "constant", setting.Values{"warmup": 1}, 4,
		config.Fixed(2)
	mustTrain(t, base)
	for _, tc := range []struct {
		name   string
		change func(c *config.Config)
		want   string // in the error; "" is allowed
		note   string
	}{
		{"nothing", func(c *config.Config) {}, "", ""},
		{"more steps", func(c *config.Config) { c.Steps = 6 }, "", ""},
		{"intervals", func(c *config.Config) { c.SaveEvery, c.EvalEvery, c.Keep = 1, config.Fixed(1), 5 }, "", ""},
		{"threads", func(c *config.Config) { c.Threads = 2 }, "", "last bits"},
		{"the model elsewhere", func(c *config.Config) {
			path := filepath.Join(t.TempDir(), "moved.gguf")
			if err := os.WriteFile(path, []byte(readFile(t, base.Model)), 0o666); err != nil {
				t.Fatal(err)
			}
			c.Model = path
		}, "", ""},
		{"rank", func(c *config.Config) { c.Rank = 8 }, "--rank is 8, and was 4 when the run began", ""},
		{"two options", func(c *config.Config) { c.LR, c.SeqLen = config.Fixed(1.0), 32 }, "--lr is 1, and was 0.005",
			""},
		{"schedule", func(c *config.Config) { c.Schedule = "linear" }, "--schedule is linear, and was constant", ""},
		{"another model", func(c *config.Config) {
			s := synth.Tiny("llama", gguf.F32)
			s.Seed = 99
			c.Model = synth.Temp(t, s)
		}, "is not the one the run began with", ""},
		{"other data", func(c *config.Config) { c.Data = []string{tinyData(t, 38)} },
			"the training data gives other rows than it did when the run began: it has changed, or the chat template " +
				"has, or this " +
				"version of ggtune reads it otherwise", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := base
			c.Resume = true
			c.Output = filepath.Join(t.TempDir(), "run")
			if err := os.CopyFS(c.Output, os.DirFS(base.Output)); err != nil {
				t.Fatal(err)
			}
			tc.change(&c)
			rec := &recorder{}
			s, err := Train(t.Context(), c, rec)
			switch {
			case tc.want == "" && (err != nil || s.Steps != c.Steps):
				t.Errorf("got %d steps, %v, want %d", s.Steps, err, c.Steps)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want %q", err, tc.want)
			case !strings.Contains(rec.notes(), tc.note):
				t.Errorf("notes %q lack %q", rec.notes(), tc.note)
			}
		})
	}
	cosine := base
	cosine.Schedule, cosine.Output = "cosine", filepath.Join(t.TempDir(), "run")
	mustTrain(t, cosine)
	cosine.Resume, cosine.Steps = true, 9
	if _, err := Train(t.Context(), cosine, report.Silent{}); err == nil ||
		!strings.Contains(err.Error(), "schedule cosine follow from that number; only schedule constant lets") {
		t.Errorf("more steps under cosine: got %v", err)
	}
}

// TestOutputDirectory: directories that a run must not use.
func TestOutputDirectory(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	c.Resume = true
	if _, err := Train(t.Context(), c, report.Silent{}); err == nil ||
		!strings.Contains(err.Error(), "no such directory") {
		t.Errorf("resume from nowhere: got %v", err)
	}
	c.Resume = false
	c.Output = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(c.Output, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Train(t.Context(), c, report.Silent{}); err == nil || !strings.Contains(err.Error(), "is a file") {
		t.Errorf("a file: got %v", err)
	}
	c.Output = t.TempDir()
	d, err := openRunDir(&c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Train(t.Context(), c, report.Silent{}); err == nil ||
		!strings.Contains(err.Error(), "in use by another ggtune") {
		t.Errorf("a locked directory: got %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		c.Output = filepath.Join(t.TempDir(), "closed")
		if err := os.Mkdir(c.Output, 0o555); err != nil {
			t.Fatal(err)
		}
		if _, err := Train(t.Context(), c, report.Silent{}); !errors.Is(err, os.ErrPermission) {
			t.Errorf("no permission: got %v", err)
		}
	}
}

// TestPatienceAndBest: a run that gets worse stops, and its result is the best step's.
func TestPatienceAndBest(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	c.LR, c.Clip, c.Schedule = config.Fixed(0.05), 0, "constant" // far too much: the loss rises at once
	c.Steps, c.EvalEvery, c.Patience, c.Keep, c.SaveEvery = 40, config.Fixed(1), 2, 1, 0
	c.EvalSplit, c.EvalData = config.Fixed(0.0), []string{tinyData(t, 10)}
	s := mustTrain(t, c)
	if s.Stopped != "patience" || s.Steps >= 40 || s.BestStep == nil || s.ResultStep != *s.BestStep ||
		s.ResultStep >= s.Steps {
		t.Fatalf("got %+v", s)
	}
	store := checkpoint.Store{Dir: filepath.Join(c.Output, dirCheckpoints)}
	ids, err := store.List()
	if err != nil || len(ids) != 2 || ids[0].Step != s.ResultStep || ids[1].Step != s.Steps {
		t.Errorf("checkpoints: got %v, %v, want the best (%d) and the last (%d)", ids, err, s.ResultStep, s.Steps)
	}
	held := c
	held.Data = c.EvalData
	e, err := Evaluate(t.Context(), held, filepath.Join(c.Output, fileAdapter), nil, report.Silent{})
	if err != nil || !(math.Abs(e.Loss-*s.BestLoss) <= 1e-4) {
		t.Errorf("evaluation of the result: %+v, %v, want the best step's loss, %g", e, err, *s.BestLoss)
	}
	// Resuming a run that patience ended ends it again.
	resumed, err := ResumeConfig(c.Output)
	if err != nil {
		t.Fatal(err)
	}
	if again := mustTrain(t, *resumed); again.Steps != s.Steps || *again.AdapterSHA256 != *s.AdapterSHA256 {
		t.Errorf("resumed: got %+v, want %+v", again, s)
	}
}

// TestNotVerified: a result from which llama.cpp computes something else gets no name, and its run is not finished.
func TestNotVerified(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	spoil := &recorder{on: func(e report.Event) {
		if p, ok := e.(report.Progress); !ok || p.What != "verify" {
			return
		}
		path := filepath.Join(c.Output, fileUnverified)
		b := []byte(readFile(t, path))
		for i := range 256 { // floats near 800
			b[len(b)-1-i] = 0x44
		}
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Error(err)
		}
	}}
	if _, err := Train(t.Context(), c, spoil); !errors.Is(err, verify.ErrDisagree) {
		t.Fatalf("got %v", err)
	}
	for _, name := range []string{fileAdapter, fileUnverified, fileReport} {
		if _, err := os.Lstat(filepath.Join(c.Output, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want it absent", name, err)
		}
	}
	resumed, err := ResumeConfig(c.Output)
	if err != nil {
		t.Fatal(err)
	}
	mustTrain(t, *resumed)
}

// TestExtendedIsUnfinished: a finished run that is made longer is not finished until it is again; the adapter it had
// stays.
func TestExtendedIsUnfinished(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	c.Schedule, c.Steps = "constant", 2
	mustTrain(t, c)
	adapter := readFile(t, c.Output, fileAdapter)
	c.Resume, c.Steps = true, 4
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := Train(ctx, c, &recorder{on: func(e report.Event) {
		if _, ok := e.(report.Step); ok {
			cancel(stop)
		}
	}})
	if !errors.Is(err, stop) {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Lstat(filepath.Join(c.Output, fileReport)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v, want it absent", fileReport, err)
	}
	if readFile(t, c.Output, fileAdapter) != adapter {
		t.Error("the adapter has changed")
	}
	if mustTrain(t, c); readFile(t, c.Output, fileAdapter) == adapter {
		t.Error("the adapter has not changed")
	}
}

// TestFullDisk: a checkpoint that cannot be written ends the run with what to do, and the one before can be resumed
// from.
func TestFullDisk(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	r := begun(t, c, func(*run) {})
	r.cfg.EvalEvery = config.Fixed(0)
	saves := 0
	r.rep = &recorder{on: func(e report.Event) {
		if s, ok := e.(report.Saved); ok && s.What == "checkpoint" {
			if saves++; saves == 1 {
				r.store.FS = faultfs.New(nil, 5, faultfs.Fail, nil)
			}
		}
	}}
	err := r.train(t.Context())
	if err == nil || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "free some space") {
		t.Fatalf("got %v", err)
	}
	f, id, _, err := (&checkpoint.Store{Dir: r.store.Dir}).Latest()
	if err != nil || id.Step != 2 {
		t.Fatalf("newest checkpoint: %v, %v, want step 2", id, err)
	}
	f.Close()
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	resumed, err := ResumeConfig(c.Output)
	if err != nil {
		t.Fatal(err)
	}
	if s := mustTrain(t, *resumed); s.Steps != 6 {
		t.Errorf("got %+v", s)
	}
}

// TestPeakStays: the most memory that a run has had is that of all processes that it took, in the file and the report.
func TestPeakStays(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	stopAndResume(t, c, afterStep(2), func() {
		path := filepath.Join(c.Output, fileMetrics)
		text := regexp.MustCompile(`"peak_bytes":\d+`).ReplaceAllString(readFile(t, c.Output, fileMetrics),
			`"peak_bytes":900000000000`)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	})
	for _, file := range []string{fileMetrics, fileReport} {
		text := readFile(t, c.Output, file)
		if n := strings.Count(text, "peak_bytes"); n == 0 || strings.Count(text, "900000000000") != n {
			t.Errorf("%s: want the figure of before in all %d places: %s", file, n, text)
		}
	}
}
