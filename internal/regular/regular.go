// Package regular opens regular files for reading and nothing else: not a pipe, whose opening waits for a writer that
// may never come, nor a device, which may have no end. It knows nothing of what is in them.
package regular

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/ggtune/ggtune/internal/fileerr"
)

// ErrKind is matched by the error of what is no regular file, and ErrSize by that of one that is too large.
var (
	ErrKind = errors.New("not a regular file")
	ErrSize = errors.New("too large")
)

// Open opens a regular file for reading. It does not wait.
func Open(path string) (*os.File, error) {
	// Looked at before, because opening a device may do something; and after, because the name may have come to mean
	// another file.
	st, err := os.Stat(path)
	if err != nil {
		return nil, fileerr.Open(path, err)
	}
	if err := check(path, st); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fileerr.Open(path, err)
	}
	if st, err = f.Stat(); err == nil {
		err = check(path, st)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Read reads a regular file of at most most bytes.
func Read(path string, most int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadFrom(f, path, most)
}

// ReadFrom reads at most most bytes of what path names, which may be no file at all; more is an error.
func ReadFrom(r io.Reader, path string, most int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, fileerr.Open(path, err)
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("open %s: it is %w for what it is to hold: more than %d bytes; check the name", path,
			ErrSize, most)
	}
	return b, nil
}

func check(path string, st fs.FileInfo) error {
	switch {
	case st.Mode().IsRegular():
		return nil
	case st.IsDir():
		return fileerr.Open(path, syscall.EISDIR)
	}
	return fmt.Errorf("open %s: it is %s, %w; save it to a file first", path, Kind(st.Mode()), ErrKind)
}

// Kind says what is no regular file and no directory.
func Kind(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeDevice != 0:
		return "a device"
	case m&fs.ModeSocket != 0:
		return "a socket"
	}
	return "of another kind"
}
