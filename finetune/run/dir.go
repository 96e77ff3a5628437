package run

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/gofrs/flock"

	"github.com/ggtune/ggtune/engine/head"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/merge"
	"github.com/ggtune/ggtune/finetune/origin"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/rundir"
	"github.com/ggtune/ggtune/internal/atomicfile"
)

// The files of a run's directory.
const (
	fileConfig      = rundir.Settings
	fileStart       = rundir.Start
	fileMetrics     = rundir.Metrics
	fileSamples     = rundir.Samples
	filePage        = rundir.Page
	filePlot        = rundir.Plot
	fileFigures     = rundir.Figures
	fileReport      = rundir.Report
	fileAdapter     = checkpoint.AdapterFile
	fileModel       = checkpoint.ModelFile
	fileHead        = head.FileName
	fileReference   = "reference.bin"    // the reference's log-probabilities
	fileTeacher     = "teacher.bin"      // what the teacher says
	fileUnverified  = ".unverified.gguf" // the result until llama.cpp has computed the same from it
	fileUnsure      = ".unverified-head.gguf"
	dirCheckpoints  = checkpoint.Dir
	dirRollouts     = "rollouts" // answers that the model wrote and learns from
	dirPermissions  = 0o777
	filePermissions = 0o666
)

// worthKeeping are those of a run that a new one must not replace. Of the others nothing can be gone on with.
var worthKeeping = []string{fileReport, fileAdapter, fileModel}

// A book is what a run keeps on disk: its directory, the log of its steps, its checkpoints.
type book struct {
	dir *runDir
	log *report.Log
	// answered are the answers while it trains.
	answered *report.Samples
	store    checkpoint.Store
	saved    checkpoint.ID // the newest checkpoint written or resumed from
}

// save writes a checkpoint, and keeps that of the best step beside it.
func (b *book) save(m *meta, tensors []checkpoint.Tensor) error {
	id := checkpoint.ID{Step: m.State.Step, Micros: m.State.Pending.Micros}
	if err := errors.Join(b.log.Sync(), b.answered.Sync()); err != nil {
		return err
	}
	var keep []checkpoint.ID
	if m.Best.Seen > 0 {
		keep = append(keep, checkpoint.ID{Step: m.Best.Step})
	}
	if err := b.store.Save(id, m, []byte(m.Config), tensors, keep...); err != nil {
		return err
	}
	b.saved = id
	return nil
}

// A runDir is a run's directory, locked against other processes.
type runDir struct {
	path string
	lock *flock.Flock
	made bool // by openRunDir
}

func (d *runDir) file(name string) string { return filepath.Join(d.path, name) }

// CheckOutput refuses a directory that a new run must not write into, before anything long is done.
func CheckOutput(cfg *config.Config) error {
	st, err := os.Stat(cfg.Output)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if cfg.Resume {
			return fmt.Errorf("resume %s: there is no such directory; leave out --resume to begin a run there",
				cfg.Output)
		}
		return nil
	case err != nil:
		return fmt.Errorf("output directory: %w", err)
	case !st.IsDir():
		return fmt.Errorf("output directory %s is a file; name another with --output", cfg.Output)
	case cfg.Resume:
		return nil
	}
	name, err := holds(cfg.Output)
	if err == nil && name != "" {
		err = fmt.Errorf("%s already holds a run (%s); go on with it with --resume, or name another directory with "+
			"--output", cfg.Output, name)
	}
	return err
}

// holds names what a directory has that a new run must not replace, "" if there is nothing. A run that died before its
// first checkpoint leaves nothing such.
func holds(dir string) (name string, err error) {
	is := func(name string) bool {
		_, err := os.Lstat(filepath.Join(dir, name))
		return err == nil
	}
	if i := slices.IndexFunc(worthKeeping, is); i >= 0 {
		return worthKeeping[i], nil
	}
	store := checkpoint.Store{Dir: filepath.Join(dir, dirCheckpoints)}
	if ids, err := store.List(); err != nil || len(ids) > 0 {
		return dirCheckpoints, err
	}
	// A run makes both: a file of settings alone is somebody's own.
	if is(fileConfig) && !is(fileMetrics) {
		return fileConfig, nil
	}
	return "", nil
}

// openRunDir makes the directory if need be and locks it until Close.
func openRunDir(cfg *config.Config) (*runDir, error) {
	d := &runDir{path: cfg.Output}
	_, err := os.Stat(d.path)
	d.made = errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(d.path, dirPermissions); err != nil {
		return nil, fmt.Errorf("output directory: %w; choose a directory you may write in with --output", err)
	}
	var ok bool
	if d.lock, ok, err = rundir.Lock(d.path); err != nil {
		return nil, fmt.Errorf("output directory %s: lock: %w; choose a directory you may write in with --output",
			cfg.Output, err)
	}
	if !ok {
		return nil, fmt.Errorf("output directory %s is in use by another ggtune; wait for it, or name another with "+
			"--output", cfg.Output)
	}
	// Between the first look and the lock another process may have begun a run here.
	if err := CheckOutput(cfg); err != nil {
		return nil, errors.Join(err, d.lock.Unlock())
	}
	if _, err := atomicfile.Sweep(nil, d.path); err != nil {
		return nil, errors.Join(err, d.lock.Unlock())
	}
	return d, nil
}

// unfinish takes the marks of an end away: report.json, a result that was never verified, and the adapter of a run that
// was stopped, which is in its checkpoint too.
func (d *runDir) unfinish() error {
	names := append([]string{fileReport, fileUnverified, fileUnsure}, merge.Unverified(fileModel)...)
	if d.stopped() {
		names = append(names, fileAdapter, fileHead)
	}
	for _, name := range names {
		if err := os.Remove(d.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("go on with the run in %s: %w", d.path, err)
		}
	}
	return nil
}

// stopped says whether the adapter is that of a run that was stopped.
func (d *runDir) stopped() bool {
	o, err := origin.Read(d.file(fileAdapter))
	return err == nil && o.Unfinished() != ""
}

// leave gives the adapter of a checkpoint, and its head, the place of the run's result, unless that of a finished run
// is there: written is whether it did, false too for a checkpoint without one.
func (d *runDir) leave(dir string) (written bool, err error) {
	if _, err := os.Lstat(d.file(fileAdapter)); err == nil && !d.stopped() {
		return false, nil
	}
	if _, err := d.copy(dir, fileHead); err != nil {
		return false, err
	}
	return d.copy(dir, fileAdapter)
}

// copy copies a file of another directory, if it is there.
func (d *runDir) copy(dir, name string) (written bool, err error) {
	from, err := os.Open(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer from.Close()
	to, err := atomicfile.Create(nil, d.file(name), filePermissions)
	if err != nil {
		return false, err
	}
	defer to.Abort()
	if _, err := io.Copy(to, from); err != nil {
		return false, fmt.Errorf("copy %s to %s: %w", from.Name(), to.Path(), err)
	}
	return true, to.Commit()
}

// Close gives the lock up, and removes a directory made for a run that left nothing in it; it may be called again and
// on nil.
func (d *runDir) Close() error {
	if d == nil {
		return nil
	}
	// While the lock is held, so that no other process loses its own. Where it cannot be removed the directory can be
	// used all the same.
	if d.made && rundir.RemoveLock(d.path) {
		_ = os.Remove(d.path)
	}
	d.made = false
	return d.lock.Close()
}
