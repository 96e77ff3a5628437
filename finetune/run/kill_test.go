package run

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
)

// childEnv holds, in the child process of TestKilled, the file of the settings it trains with.
const childEnv = "GGTUNE_TEST_CHILD"

// TestKilledChild is the child process of TestKilled; by itself it does nothing.
func TestKilledChild(t *testing.T) {
	path := os.Getenv(childEnv)
	if path == "" {
		t.Skip("runs as the child of TestKilled")
	}
	c := config.Default()
	if _, err := c.LoadTOML(path); err != nil {
		t.Fatal(err)
	}
	_, err := os.Stat(c.Output)
	c.Resume = err == nil
	if _, err := Train(t.Context(), c, report.Silent{}); err != nil {
		t.Fatal(err)
	}
}

// TestKilled kills a training process without warning, several times, and wants the run that is resumed after it to
// end where a straight run ends.
func TestKilled(t *testing.T) {
	t.Run("sft", func(t *testing.T) { killed(t, tinyConfig(t, gguf.F32), fileAdapter) })
	t.Run("reward", func(t *testing.T) { killed(t, rewardConfig(t), fileAdapter, fileHead) })
}

// toBeKilled makes a straight run of the settings beside theirs, and the file that a child reads them from.
func toBeKilled(t *testing.T, c config.Config) (straight config.Config, settings string) {
	t.Helper()
	straight = c
	straight.Output = filepath.Join(t.TempDir(), "straight")
	mustTrain(t, straight)
	text, err := c.TOML()
	if err != nil {
		t.Fatal(err)
	}
	settings = filepath.Join(t.TempDir(), "run.toml")
	if err := os.WriteFile(settings, text, 0o666); err != nil {
		t.Fatal(err)
	}
	return straight, settings
}

// killed does it, and looks at files of the result.
func killed(t *testing.T, c config.Config, files ...string) {
	c.Steps, c.SaveEvery = 40, 1
	straight, settings := toBeKilled(t, c)
	store := &checkpoint.Store{Dir: filepath.Join(c.Output, dirCheckpoints)}
	killed := 0
	for at := 5; at <= 25; at += 10 {
		child := exec.Command(os.Args[0], "-test.run=^TestKilledChild$", "-test.count=1")
		child.Env = append(os.Environ(), childEnv+"="+settings)
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(30 * time.Second)
		for newest(t, store) < at && time.Now().Before(deadline) {
			time.Sleep(2 * time.Millisecond)
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if child.Wait() != nil {
			killed++
		}
		f, id, _, err := store.Latest()
		if err != nil || id.Step < at {
			t.Fatalf("killed at step %d: newest whole checkpoint %v, %v", at, id, err)
		}
		f.Close()
	}
	if killed == 0 {
		t.Fatal("no process was killed: each was done before")
	}
	c.Resume = true
	mustTrain(t, c)
	for _, name := range files {
		if readFile(t, c.Output, name) != readFile(t, straight.Output, name) {
			t.Errorf("%s is not that of a straight run", name)
		}
	}
	if got, want := metrics(t, c.Output), metrics(t, straight.Output); !reflect.DeepEqual(got, want) {
		t.Errorf("metrics:\n%+v, want\n%+v", got, want)
	}
}

// newest gives the step of the newest checkpoint, 0 without one. A directory that goes while it is read counts as
// none.
func newest(t *testing.T, s *checkpoint.Store) int {
	t.Helper()
	ids, err := s.List()
	if err != nil || len(ids) == 0 {
		return 0
	}
	return ids[len(ids)-1].Step
}
