package rundir

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/flock"
)

// Who looks whether a run is under way keeps none from beginning; who has begun, is seen.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	if Running(dir) || AskToStop(dir) == nil {
		t.Error("nothing is under way")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("looking left %v, %v", entries, err)
	}
	look := flock.New(filepath.Join(dir, lockFile))
	if ok, err := look.TryRLock(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	var looking sync.WaitGroup
	looking.Go(func() { time.Sleep(lookAgain / 4); look.Close() })
	l, ok, err := Lock(dir)
	looking.Wait()
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	if !Running(dir) || Asked(dir) {
		t.Errorf("running %v, asked %v, want true, false", Running(dir), Asked(dir))
	}
	if other, ok, err := Lock(dir); ok || err != nil {
		t.Errorf("it was locked twice: %v", err)
	} else {
		other.Close()
	}
	if err := AskToStop(dir); err != nil || !Asked(dir) {
		t.Errorf("ask: %v, asked %v", err, Asked(dir))
	}
	if RemoveLock(dir) {
		t.Error("the lock was removed from a directory that holds more")
	}
	if Forget(dir); Asked(dir) {
		t.Error("it is still asked")
	}
	if err := l.Close(); err != nil || Running(dir) {
		t.Errorf("after the end: running, or %v", err)
	}
}
