// Package checkpoint keeps the states of a run on disk so that a whole one is always found, whatever fails in between.
// It knows names, numbers and files, not what they mean.
//
// A checkpoint is a directory that appears by its last rename. Readers ignore all else, and check the sum of what they
// read.
package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/ggtune/ggtune/internal/atomicfile"
)

// Dir is the directory of a run's checkpoints, within the run's own.
const Dir = "checkpoints"

// The files of a checkpoint.
const (
	stateFile  = "state.bin"
	configFile = "run.toml"
)

// ErrNone is returned by Latest when there is no checkpoint.
var ErrNone = errors.New("no checkpoint")

// An ID is a checkpoint's place in the run.
type ID struct {
	Step   int // updates done
	Micros int // micro-batches done of the next step
}

var namePattern = regexp.MustCompile(`^step-([0-9]{8,18})(?:\+([0-9]{1,9}))?$`)

// String gives the directory's name: step-00000120, or step-00000120+3 within a step.
func (id ID) String() string {
	s := fmt.Sprintf("step-%08d", id.Step)
	if id.Micros > 0 {
		s += fmt.Sprintf("+%d", id.Micros)
	}
	return s
}

func parseID(name string) (ID, bool) {
	m := namePattern.FindStringSubmatch(name)
	if m == nil {
		return ID{}, false
	}
	var id ID
	var err error
	if id.Step, err = strconv.Atoi(m[1]); err != nil {
		return ID{}, false
	}
	if m[2] != "" {
		if id.Micros, err = strconv.Atoi(m[2]); err != nil {
			return ID{}, false
		}
	}
	return id, id.String() == name
}

func compare(a, b ID) int {
	if a.Step != b.Step {
		return a.Step - b.Step
	}
	return a.Micros - b.Micros
}

// A Store is the directory of a run's checkpoints. It is not safe for concurrent use; one process owns it (the run's
// lock).
type Store struct {
	FS   atomicfile.FS // nil: the real file system
	Dir  string        // made on the first Save
	Keep int           // how many of the newest are kept, at least 1
	// Beside puts further files into the directory of a checkpoint that is being written, for other readers than Open;
	// nil: none.
	Beside func(id ID, dir string) error
}

func (s *Store) fsys() atomicfile.FS {
	if s.FS == nil {
		return atomicfile.OS
	}
	return s.FS
}

// Path is where the checkpoint of that ID lies, or would.
func (s *Store) Path(id ID) string { return filepath.Join(s.Dir, id.String()) }

// Save writes a checkpoint and then removes old ones: all but the newest Keep and those in protect. meta is anything
// JSON can hold, config the run's settings as a file. A whole checkpoint of that ID already there is left as it is: the
// state at an ID is determined by it.
//
// When Save fails, the checkpoints that were there before still are.
func (s *Store) Save(id ID, meta any, config []byte, tensors []Tensor, protect ...ID) error {
	fsys := s.fsys()
	if _, err := fsys.Lstat(s.Dir); errors.Is(err, fs.ErrNotExist) {
		if err := fsys.Mkdir(s.Dir, 0o777); err != nil {
			return fmt.Errorf("save checkpoint: %w", err)
		}
		// Its own entry must be on disk before anything in it can be.
		if err := fsys.SyncDir(filepath.Dir(s.Dir)); err != nil {
			return fmt.Errorf("save checkpoint: flush %s: %w", filepath.Dir(s.Dir), err)
		}
	}
	if _, err := fsys.Lstat(s.Path(id)); err == nil {
		f, err := OpenFile(filepath.Join(s.Path(id), stateFile))
		if err == nil {
			return f.Close()
		}
		// It cannot be resumed from, and stands in the way of one that can.
		if err := fsys.RemoveAll(s.Path(id)); err != nil {
			return fmt.Errorf("save checkpoint: remove the damaged %s: %w", s.Path(id), err)
		}
	}
	if err := s.write(id, meta, config, tensors); err != nil {
		return fmt.Errorf("save checkpoint: %w", err)
	}
	return s.rotate(append(protect, id))
}

func (s *Store) write(id ID, meta any, config []byte, tensors []Tensor) error {
	d, err := atomicfile.CreateDir(s.fsys(), s.Path(id))
	if err != nil {
		return err
	}
	defer d.Abort()
	if err := d.WriteFile(configFile, config); err != nil {
		return err
	}
	f, err := d.Create(stateFile)
	if err != nil {
		return err
	}
	if err := errors.Join(encode(f, meta, tensors), f.Close()); err != nil {
		return err
	}
	if s.Beside != nil {
		if err := s.Beside(id, d.TempPath()); err != nil {
			return err
		}
	}
	return d.Commit()
}

// rotate removes all but the newest Keep checkpoints and those in protect, and what dead processes left.
func (s *Store) rotate(protect []ID) error {
	ids, err := s.List()
	if err != nil {
		return err
	}
	var errs []error
	for i, id := range ids {
		if i >= len(ids)-max(s.Keep, 1) || slices.Contains(protect, id) {
			continue
		}
		if err := s.fsys().RemoveAll(s.Path(id)); err != nil {
			errs = append(errs, fmt.Errorf("remove old checkpoint: %w", err))
		}
	}
	_, err = atomicfile.Sweep(s.fsys(), s.Dir)
	return errors.Join(append(errs, err)...)
}

// List gives the checkpoints' IDs, oldest first. It does not look into them.
func (s *Store) List() ([]ID, error) {
	entries, err := s.fsys().ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	var ids []ID
	for _, e := range entries {
		if id, ok := parseID(e.Name()); ok && e.IsDir() {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, compare)
	return ids, nil
}

// Is says whether a directory is a checkpoint.
func Is(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, stateFile))
	return err == nil
}

// Open opens one checkpoint and verifies it.
func (s *Store) Open(id ID) (*File, error) { return OpenFile(filepath.Join(s.Path(id), stateFile)) }

// Latest opens the newest whole checkpoint. skipped says why newer ones could not be used; a newer version is an error,
// because the run has gone on since.
func (s *Store) Latest() (f *File, id ID, skipped []error, err error) {
	ids, err := s.List()
	if err != nil {
		return nil, ID{}, nil, err
	}
	for i := len(ids) - 1; i >= 0; i-- {
		f, err := s.Open(ids[i])
		switch {
		case err == nil:
			return f, ids[i], skipped, nil
		case errors.Is(err, ErrDamaged), errors.Is(err, fs.ErrNotExist):
			skipped = append(skipped, err)
		default:
			return nil, ID{}, skipped, err
		}
	}
	return nil, ID{}, skipped, fmt.Errorf("%w in %s", ErrNone, s.Dir)
}
