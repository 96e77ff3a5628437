package run

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/rundir"
)

// A run that is asked to stop, as another process would ask it, saves and ends; it goes on to what a straight run
// leaves, and start.json tells all the while what the run said.
func TestAskToStop(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	straight := c
	straight.Output = filepath.Join(t.TempDir(), "straight")
	mustTrain(t, straight)
	c.Output = filepath.Join(t.TempDir(), "run")
	if err := rundir.AskToStop(c.Output); err == nil || rundir.Running(c.Output) {
		t.Error("a run that is not there was asked to stop")
	}
	_, err := Train(t.Context(), c, &recorder{on: func(e report.Event) {
		if s, ok := e.(report.Step); !ok || s.Step != 2 {
			return
		}
		if !rundir.Running(c.Output) {
			t.Error("the run is not under way")
		}
		if err := rundir.AskToStop(c.Output); err != nil || !rundir.Asked(c.Output) {
			t.Errorf("ask: %v, asked %v", err, rundir.Asked(c.Output))
		}
		time.Sleep(3 * askedEvery) // the run has so much time to look
	}})
	if !errors.Is(err, ErrAsked) {
		t.Fatalf("got %v, want %v", err, ErrAsked)
	}
	if rundir.Running(c.Output) || rundir.Asked(c.Output) {
		t.Errorf("after the end: running %v, asked %v", rundir.Running(c.Output), rundir.Asked(c.Output))
	}
	began, err := report.ReadStart(filepath.Join(c.Output, fileStart))
	if err != nil || began.Steps != 6 || began.Train.Rows == 0 || began.Held == nil || began.Before["eval_loss"] == 0 {
		t.Errorf("start.json: %+v, %v", began, err)
	}
	// A wish that came too late is not one for the next part of the run.
	if err := os.WriteFile(filepath.Join(c.Output, ".stop"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	resumed, err := ResumeConfig(c.Output)
	if err != nil {
		t.Fatal(err)
	}
	mustTrain(t, *resumed)
	sameResult(t, c.Output, straight.Output)
	again, err := report.ReadStart(filepath.Join(c.Output, fileStart))
	if err != nil || again.Step != 2 || !reflect.DeepEqual(again.Before, began.Before) {
		t.Errorf("start.json after a resume: %+v, %v, want step 2 and before %v", again, err, began.Before)
	}
}
