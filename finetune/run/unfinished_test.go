package run

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/budget"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/origin"
	"github.com/ggtune/ggtune/finetune/report"
)

// unfinishedAt wants an adapter that says so, and how far its run had come; "" one that does not.
func unfinishedAt(t *testing.T, path, want string) {
	t.Helper()
	o, err := origin.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := o.Unfinished(); (got == "") != (want == "") || !strings.Contains(got, want) {
		t.Errorf("%s: got %q, want %q in it", path, got, want)
	}
}

// TestStoppedRunIsUsable: a run that was stopped leaves the adapter of its last state, marked; it is measured by the
// run's name as by its checkpoint's, goes on from there, and an end takes its place.
func TestStoppedRunIsUsable(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	c.SaveEvery = 1
	stopAndResume(t, c, afterStep(3), func() {
		own := filepath.Join(c.Output, fileAdapter)
		newest := filepath.Join(c.Output, dirCheckpoints, "step-00000003")
		unfinishedAt(t, own, "step 3 of 6")
		if readFile(t, own) != readFile(t, newest, fileAdapter) {
			t.Error("the adapter is not that of the newest checkpoint")
		}
		if svg := readFile(t, c.Output, filePlot); !strings.Contains(svg, "held out") {
			t.Error("no plot of the losses so far")
		}
		e := heldConfig(c, t)
		losses := map[float64]bool{}
		for _, path := range []string{c.Output, own, newest, filepath.Join(newest, fileAdapter)} {
			rec := &recorder{}
			got, err := Evaluate(t.Context(), e, path, nil, rec)
			if err != nil {
				t.Fatal(err)
			}
			losses[got.Loss] = true
			if !strings.Contains(rec.notes(), "is of an unfinished run (step 3 of 6)") {
				t.Errorf("%s: notes %q", path, rec.notes())
			}
		}
		if len(losses) != 1 {
			t.Errorf("one adapter under its four names has the losses %v", losses)
		}
		// As if it had been killed.
		if err := os.Remove(own); err != nil {
			t.Fatal(err)
		}
		if got, err := Evaluate(t.Context(), e, c.Output, nil, report.Silent{}); err != nil || !losses[got.Loss] {
			t.Errorf("without it: got %v, %v", got.Loss, err)
		}
		// Another run starts from it.
		next := c
		next.InitAdapter, next.Output, next.Steps = c.Output, filepath.Join(t.TempDir(), "next"), 1
		next.Rank, next.Alpha = config.Default().Rank, config.Default().Alpha
		mustTrain(t, next)
		if toml := readFile(t, next.Output, fileConfig); !strings.Contains(toml, "step-00000003") {
			t.Errorf("run.toml does not name the adapter's file: %s", toml)
		}
	})
	unfinishedAt(t, filepath.Join(c.Output, fileAdapter), "")
}

// TestGoingOnTakesTheMarkAway: while a run that was stopped goes on, its name is the newest checkpoint's; the adapter
// of a run that had ended stays until there is another.
func TestGoingOnTakesTheMarkAway(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	c.SaveEvery, c.Steps, c.Schedule = 1, 2, "constant"
	mustTrain(t, c)
	own := filepath.Join(c.Output, fileAdapter)
	verified := readFile(t, own)
	stop := errors.New("stop")
	goOn := func(steps, at int, then func()) {
		t.Helper()
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		c.Steps, c.Resume = steps, true
		_, err := Train(ctx, c, &recorder{on: func(e report.Event) {
			if afterStep(at)(e) {
				then()
				cancel(stop)
			}
		}})
		if !errors.Is(err, stop) {
			t.Fatalf("got %v", err)
		}
	}
	goOn(6, 4, func() {})
	if readFile(t, own) != verified {
		t.Error("the adapter of the finished run is gone")
	}
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	goOn(6, 5, func() {})
	unfinishedAt(t, own, "step 5 of 6")
	c.Steps = 9
	goOn(9, 7, func() {
		if _, err := os.Stat(own); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the adapter of the stop before is still there: %v", err)
		}
		if got, err := checkpoint.FindAdapter(c.Output); err != nil ||
			filepath.Base(filepath.Dir(got)) != "step-00000007" {
			t.Errorf("got %s, %v", got, err)
		}
	})
	unfinishedAt(t, own, "step 7 of 9")
}

// TestDeadRunDoesNotBlock: a run that died before its first checkpoint leaves nothing that another must not replace.
func TestDeadRunDoesNotBlock(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	c.SaveEvery, c.Best = 0, false
	straight := mustTrain(t, c)
	c.Output = filepath.Join(t.TempDir(), "run")
	if err := os.MkdirAll(filepath.Join(c.Output, dirCheckpoints), 0o777); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(c.Output, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write(fileConfig, "rank = 99\n")
	if _, err := Train(t.Context(), c, report.Silent{}); err == nil ||
		!strings.Contains(err.Error(), "already holds a run (run.toml)") {
		t.Errorf("settings that may be somebody's own: got %v", err)
	}
	write(fileMetrics, `{"step":1,"loss":9}`+"\n"+`{"step":2,"lo`)
	write(".lock", "")
	write(filePlot, "<svg/>")
	if s := mustTrain(t, c); *s.LastLoss != *straight.LastLoss {
		t.Errorf("got loss %v, want %v", *s.LastLoss, *straight.LastLoss)
	}
	if n := len(metrics(t, c.Output)); n != c.Steps {
		t.Errorf("%d lines of metrics, want %d", n, c.Steps)
	}
}

// TestDiskForecast: the bytes that a run is told to need are about those that it has at most, its last step's
// gradients, which only a stop keeps, and the room for its log left out.
func TestDiskForecast(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	c.SaveEvery, c.Rank, c.Steps = 1, 64, 8
	most := int64(0)
	r := begun(t, c, func(*run) {})
	trained := r.count()
	plan := budget.PlanDisk(&c, budget.Course{Trained: trained, Params: r.memory.Params,
		Adapter: config.AdapterBytes(r.start), State: r.memory.State, Steps: c.Steps, Every: r.rows.EvalEvery()})
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	c.Resume = true // the directory is there
	if _, err := Train(t.Context(), c, &recorder{on: func(e report.Event) {
		if s, ok := e.(report.Saved); ok && s.What == "checkpoint" {
			n := int64(0)
			_ = filepath.WalkDir(c.Output, func(_ string, e fs.DirEntry, _ error) error {
				if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
					n += info.Size()
				}
				return nil
			})
			most = max(most, n)
		}
	}}); err != nil {
		t.Fatal(err)
	}
	// When it is told of a checkpoint, older ones are removed already.
	want := plan.Total - plan.Checkpoint - 4*trained - plan.Result - int64(c.Steps)*1000
	const small = 150_000 // names, the settings (beside each checkpoint too), the plot
	if most < want-2*plan.Checkpoint || most > want+small {
		t.Errorf("%d bytes lay in the directory, %d were foreseen", most, want)
	}
}
