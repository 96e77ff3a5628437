package budget

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/config"
)

// TestPlanDisk: what lies on the disk at most at one time, by hand.
func TestPlanDisk(t *testing.T) {
	const n, float, moments = 1000, 4, 8 // parameters; bytes of one, and of AdamW's two moments of one
	const with = n * (2*float + moments) // a checkpoint and the adapter in it
	c := Course{Trained: n, Params: n * float, State: n * moments, Model: 1e6, Adapter: n * float, Steps: 100,
		Cached: 200, Samples: 12345}
	for _, tc := range []struct {
		name    string
		change  func(cfg *config.Config, c *Course)
		number  int
		one     int64
		results int64
	}{
		{"the last alone", func(cfg *config.Config, c *Course) { cfg.SaveEvery = 0 }, 1, with, n * float},
		{"two in all", func(cfg *config.Config, c *Course) { cfg.SaveEvery = 100 }, 2, with, n * float},
		{"many", func(cfg *config.Config, c *Course) { cfg.SaveEvery, cfg.Keep = 1, 5 }, 6, with, n * float},
		{"and the best", func(cfg *config.Config, c *Course) { cfg.SaveEvery, cfg.Keep, c.Every = 1, 5, 10 }, 7, with,
			n * float},
		{"full", func(cfg *config.Config, c *Course) { cfg.SaveEvery, cfg.Full, c.Adapter = 0, true, 0 }, 1,
			n * (float + moments), 1e6},
		{"an adapter merged, with numbers that stay", func(cfg *config.Config, c *Course) {
			cfg.SaveEvery, cfg.Tune, c.Adapter, c.Fixed = 0, "dora", 1200*float, 200
		}, 1, with + (200+200)*float, 1200*float + 1e6},
	} {
		cfg, course := config.Default(), c
		tc.change(&cfg, &course)
		d := PlanDisk(&cfg, course)
		want := int64(tc.number)*tc.one + n*float + tc.results + 50*float + 100*lineBytes + 12345
		if d.Checkpoints != tc.number || d.Checkpoint != tc.one || d.Result != tc.results || d.Total != want {
			t.Errorf("%s: got %+v, want %d checkpoints of %d, a result of %d, %d in all", tc.name, d, tc.number,
				tc.one, tc.results, want)
		}
	}
}

// TestCheckDisk: a run is refused with both figures; what lies there already is counted once.
func TestCheckDisk(t *testing.T) {
	dir := t.TempDir()
	d := Disk{Checkpoint: 3e9, Checkpoints: 2, Result: 1e9, Total: 7e9}
	if err := CheckDisk(d, dir, 6.5e9); err == nil ||
		!strings.Contains(err.Error(), "need 7.00 GB on that disk (up to 2 checkpoints of 3.00 GB, the result "+
			"1.00 GB), and 6.50 GB are free") {
		t.Errorf("got %v", err)
	}
	for _, free := range []int64{7e9, 8e9, 0} {
		if err := CheckDisk(d, dir, free); err != nil {
			t.Errorf("%d bytes free (0: not known): %v", free, err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "checkpoints"), 0o777); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "checkpoints", "state.bin"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(6e8); err != nil {
		t.Fatal(err)
	}
	if err := CheckDisk(d, dir, 6.5e9); err != nil {
		t.Errorf("with 600 MB of it there: %v", err)
	}
	if free := FreeDisk(filepath.Join(dir, "not", "yet")); free <= 0 {
		t.Errorf("free in a directory that is to be made: got %d", free)
	}
}
