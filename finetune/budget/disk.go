package budget

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/shirou/gopsutil/v4/disk"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/internal/count"
)

// A Disk is what a run has on disk at most at one time, in bytes.
type Disk struct {
	Checkpoint  int64 // each; one within a step is larger, which Total counts
	Checkpoints int   // at most at one time
	Result      int64
	Total       int64
}

// A Course is as much of a run as its files depend on.
type Course struct {
	Trained int64 // parameters
	Params  int64 // bytes of their numbers
	State   int64 // bytes of the optimizer's state
	Model   int64 // bytes of model.gguf, where the run leaves one
	Adapter int64 // bytes of adapter.gguf's numbers, where it leaves one
	Fixed   int64 // of an adapter, those that are not trained, in each checkpoint too
	Steps   int
	Every   int   // steps between evaluations, 0 without any
	Cached  int64 // bytes of the reference's log-probabilities and the teacher's predictions
	Samples int64 // bytes of the answers while it trains
	// Rollouts are the bytes of the rollouts that the newest checkpoints go on from; 0 where the model writes none.
	Rollouts int64
}

// lineBytes is more than a line of metrics.jsonl takes, with a method's figures.
const lineBytes = 1000

// PlanDisk works out what a run's directory will hold.
func PlanDisk(cfg *config.Config, c Course) Disk {
	const float = 4 // bytes
	var d Disk
	// The adapter is beside the state too.
	d.Checkpoint, d.Result = c.Params+c.State+float*c.Fixed+c.Adapter, c.Adapter
	if cfg.LeavesModel() {
		d.Result += c.Model
	}
	// The last one, those in between, and those of the lowest losses. The next is written before an old one goes.
	saves, most := 1, cfg.Keep+1
	if cfg.SaveEvery > 0 {
		saves += c.Steps / cfg.SaveEvery
	}
	if c.Every > 0 {
		saves, most = saves+c.Steps/c.Every, most+1
	}
	d.Checkpoints = min(saves, most)
	gradients := float * c.Trained
	d.Total = int64(d.Checkpoints)*d.Checkpoint + gradients + d.Result + c.Cached +
		lineBytes*int64(c.Steps) + c.Samples + c.Rollouts
	return d
}

// CheckDisk refuses a run that its directory has no room for. What the directory holds already of a run that is gone on
// with is part of d. free is what FreeDisk says.
func CheckDisk(d Disk, dir string, free int64) error {
	needed := d.Total - held(dir)
	if free == 0 || needed <= free {
		return nil
	}
	return fmt.Errorf("%s: the run will need %s on that disk (up to %s of %s, the result %s), and %s are free; free "+
		"some space, lower --keep, or name a directory on another disk with --output", dir, report.Bytes(needed),
		count.Of(d.Checkpoints, "checkpoint"), report.Bytes(d.Checkpoint), report.Bytes(d.Result), report.Bytes(free))
}

// FreeDisk is how many bytes may be written in a directory, which need not exist yet; 0 where the system does not say.
func FreeDisk(dir string) int64 {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return 0
	}
	for {
		if _, err := os.Stat(dir); err == nil || filepath.Dir(dir) == dir {
			break
		}
		dir = filepath.Dir(dir)
	}
	u, err := disk.Usage(dir)
	if err != nil || u.Total == 0 {
		return 0
	}
	return int64(max(min(u.Free, 1<<62), 1)) // none is not unknown
}

// held is how many bytes the files in a directory have; what cannot be read does not count.
func held(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return nil
	})
	return n
}
