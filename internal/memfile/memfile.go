// Package memfile makes files for libraries that only read from a path: in memory on Linux, elsewhere in the system's
// folder for temporary files.
package memfile

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ggtune/ggtune/internal/stream"
)

// A File is a file that lasts until Close.
type File struct {
	f      *os.File
	path   string
	remove bool // it has a name on disk
}

// Write makes a file of what write writes. Close it.
func Write(write func(w io.Writer) error) (*File, error) {
	f, err := create()
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	if err := stream.Buffered(f.f, write); err != nil {
		return nil, errors.Join(fmt.Errorf("write a file in memory: %w", err), f.Close())
	}
	return f, nil
}

// Path is where it can be read, until Close.
func (f *File) Path() string { return f.path }

// Close frees the file. It may be called again and on nil.
func (f *File) Close() error {
	if f == nil || f.f == nil {
		return nil
	}
	err := f.f.Close()
	if f.remove {
		err = errors.Join(err, os.Remove(f.path))
	}
	f.f = nil
	return err
}
