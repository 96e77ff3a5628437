package rate

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"unicode/utf8"

	"github.com/gofrs/flock"

	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/count"
	"github.com/ggtune/ggtune/internal/regular"
)

// maxFile bounds what is read of a file of choices: a person's lifetime of them is far smaller.
const maxFile = 1 << 30

// A Store is a file of choices, locked against other processes. It is not safe for concurrent use.
//
// A choice is appended as one line and flushed. An undo writes the file anew and renames it. A process that dies while
// it appends leaves the beginning of a line, which the next Open cuts off; lines that are whole stay.
type Store struct {
	path string
	fsys atomicfile.FS
	lock *flock.Flock
	size int64    // of the file as this Store left it; -1: there is none
	raw  [][]byte // its lines, with their newlines
	recs []Record
	// torn says that an append failed: what is in the file after the last whole line is not known, and the next change
	// writes it anew.
	torn bool
}

// OpenStore opens the file of that name, if there is one, and mends its end. notes say what was mended. fsys nil: the
// real file system. Close it.
func OpenStore(fsys atomicfile.FS, path string) (s *Store, notes []string, err error) {
	if fsys == nil {
		fsys = atomicfile.OS
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // a rename would replace the link
	}
	s = &Store{path: path, fsys: fsys, size: -1}
	if s.lock, err = lock(path); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
			s = nil
		}
	}()
	// What an undo that was killed has left. If it cannot be removed, that is no reason not to rate.
	_, _ = atomicfile.Sweep(fsys, filepath.Dir(path))
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil, nil
	}
	if err != nil {
		return s, nil, err
	}
	s.size = int64(len(data))
	notes, err = s.parse(data)
	return s, notes, err
}

// lock locks a file beside path: a lock on path itself would be lost when an undo puts another file in its place.
func lock(path string) (*flock.Flock, error) {
	for {
		l := flock.New(path + ".lock")
		ok, err := l.TryLock()
		if err != nil {
			return nil, fmt.Errorf("%s: lock: %w; choose a folder that exists and that you may write in with -o", path,
				err)
		}
		if !ok {
			return nil, fmt.Errorf("%s is in use by another ggtune rate; end that one, or name another file with -o",
				path)
		}
		// Close removes the file. Whoever had opened it before that has locked a file that nobody else will find.
		held, err := l.Stat()
		if err == nil {
			if named, err := os.Stat(l.Path()); err == nil && os.SameFile(held, named) {
				return l, nil
			}
		}
		if err := l.Close(); err != nil {
			return nil, fmt.Errorf("%s: lock: %w", path, err)
		}
	}
}

func readFile(path string) ([]byte, error) { return regular.Read(path, maxFile) }

// eachLine calls yield with every line that is not blank, its number from 1, and whether its newline is there.
func eachLine(data []byte, yield func(n int, line []byte, whole bool) error) error {
	for n := 1; len(data) > 0; n++ {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		data = rest
		if len(bytes.TrimSpace(line)) == 0 && whole {
			continue
		}
		if err := yield(n, line, whole); err != nil {
			return err
		}
	}
	return nil
}

// parse reads the lines, and mends the last.
func (s *Store) parse(data []byte) (notes []string, err error) {
	err = eachLine(data, func(n int, line []byte, whole bool) error {
		r, err := parseChoice(line)
		switch {
		case err == nil && !whole:
			notes = append(notes, fmt.Sprintf("%s:%d: the last line had no end, and is whole: kept", s.path, n))
		case !whole:
			notes = append(notes,
				fmt.Sprintf("%s:%d: the last line was not written to its end (%s): dropped; rate that pair again",
					s.path, n, count.Of(len(line), "byte")))
		case err != nil:
			return fmt.Errorf("%s:%d: %w; mend or remove the line, or name another file with -o", s.path, n, err)
		}
		s.torn = s.torn || !whole
		if err == nil {
			s.raw = append(s.raw, append(slices.Clone(line), '\n'))
			s.recs = append(s.recs, r)
		}
		return nil
	})
	if err == nil && s.torn {
		err = s.rewrite(len(s.raw))
	}
	return notes, err
}

func parseChoice(line []byte) (Record, error) {
	if !utf8.Valid(line) {
		return Record{}, errors.New("it is not UTF-8")
	}
	r, err := parseRecord(line)
	if err == nil {
		err = r.checkChoice()
	}
	return r, err
}

// Path is the file's name.
func (s *Store) Path() string { return s.path }

// Records are the choices in the file, oldest first. They are not to be changed.
func (s *Store) Records() []Record { return s.recs[:len(s.recs):len(s.recs)] }

// Add writes a choice. After an error the choice is not counted as made, and the file is put right by the next change
// or the next Open.
func (s *Store) Add(r Record) error {
	r.settle()
	line, err := marshal(r)
	if err != nil {
		return fmt.Errorf("%s: write a choice: %w", s.path, err)
	}
	line = append(line, '\n')
	if err := s.unchanged(); err != nil {
		return err
	}
	s.raw, s.recs = append(s.raw, line), append(s.recs, r)
	if s.torn || s.size < 0 {
		err = s.rewrite(len(s.raw))
	} else if err = atomicfile.Append(s.fsys, s.path, line); err == nil {
		s.size += int64(len(line))
	} else {
		s.torn = true
	}
	if err != nil {
		s.raw, s.recs = s.raw[:len(s.raw)-1], s.recs[:len(s.recs)-1]
	}
	return err
}

// Undo takes the last choice out of the file and gives it back; ok is false where there is none.
func (s *Store) Undo() (r Record, ok bool, err error) {
	last := len(s.recs) - 1
	if last < 0 {
		return Record{}, false, nil
	}
	if err := s.unchanged(); err != nil {
		return Record{}, false, err
	}
	if err := s.rewrite(last); err != nil {
		return Record{}, false, err
	}
	r = s.recs[last]
	s.raw, s.recs = s.raw[:last], s.recs[:last]
	return r, true, nil
}

// rewrite makes the file hold its first n lines.
func (s *Store) rewrite(n int) error {
	data := bytes.Join(s.raw[:n], nil)
	s.torn = true // until it is done
	if err := atomicfile.WriteFile(s.fsys, s.path, data, 0o666); err != nil {
		return err
	}
	s.size, s.torn = int64(len(data)), false
	return nil
}

// unchanged refuses to write to a file that another program has changed: an undo would take its changes away.
func (s *Store) unchanged() error {
	if s.torn {
		return nil
	}
	size := int64(-1)
	st, err := s.fsys.Lstat(s.path)
	switch {
	case err == nil:
		size = st.Size()
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", s.path, err)
	}
	if size != s.size {
		return fmt.Errorf("%s was changed by another program while it is in use here (%d bytes, expected %d); save "+
			"that program's work and start `ggtune rate` again",
			s.path, size, s.size)
	}
	return nil
}

// Close gives the lock up, and removes its file; it may be called again and on nil.
func (s *Store) Close() error {
	if s == nil || !s.lock.Locked() {
		return nil
	}
	// While it is held; see lock. Windows removes no open file: there it stays, and does no harm.
	_ = os.Remove(s.lock.Path())
	return s.lock.Close()
}
