// Package rundir names the files of a run's directory, and says who works in it. It does not know what the files hold.
package rundir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// The files that others than the run itself read.
const (
	Settings = "run.toml"
	Start    = "start.json" // what the run said when it last began or went on
	Metrics  = "metrics.jsonl"
	Samples  = "samples.jsonl"
	Page     = "samples.html" // the samples to look at
	Plot     = "loss.svg"
	Figures  = "figures.svg" // of a run by rewards
	Report   = "report.json"

	lockFile = ".lock"
	askFile  = ".stop" // somebody asks the run to stop
)

// lookAgain is how long a directory must be in use for Lock to give up: who looks whether a run is under way (Running)
// holds the lock for a moment.
const lookAgain = 200 * time.Millisecond

// Lock locks a directory against other runs. ok is false where another has it.
func Lock(dir string) (l *flock.Flock, ok bool, err error) {
	l = flock.New(filepath.Join(dir, lockFile))
	patience, cancel := context.WithTimeout(context.Background(), lookAgain)
	defer cancel()
	ok, err = l.TryLockContext(patience, lookAgain/10)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	return l, ok, err
}

// RemoveLock removes the file of a lock that is held, where nothing else is in the directory: removed says whether.
// Windows removes no open file.
func RemoveLock(dir string) (removed bool) {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 1 && entries[0].Name() == lockFile &&
		os.Remove(filepath.Join(dir, lockFile)) == nil
}

// Running says whether a run is under way in a directory, in this process or another.
func Running(dir string) bool {
	path := filepath.Join(dir, lockFile)
	if _, err := os.Lstat(path); err != nil {
		return false // looking must not make it
	}
	l := flock.New(path)
	defer l.Close()
	ok, err := l.TryRLock()
	return err == nil && !ok
}

// AskToStop asks the run that is under way in a directory, in this process or another, to save and stop. It does not
// wait for that. Where none is under way the error says so.
func AskToStop(dir string) error {
	if !Running(dir) {
		return fmt.Errorf("stop the run in %s: none is under way", dir)
	}
	// A file serves every system, and a run in a container too; a signal needs a process that can be named.
	f, err := os.Create(filepath.Join(dir, askFile))
	if err != nil {
		return fmt.Errorf("stop the run in %s: %w; press Ctrl-C where it runs", dir, err)
	}
	return f.Close()
}

// Asked says whether the run in a directory has been asked to stop.
func Asked(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, askFile))
	return err == nil
}

// Forget takes back what AskToStop asked.
func Forget(dir string) {
	// Where it cannot be removed nothing can be written either, and the run ends by itself.
	_ = os.Remove(filepath.Join(dir, askFile))
}
