package data

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// errInflated is the error of files that expand beyond the limit.
var errInflated = errors.New("it expands beyond the limit")

// A room is what the expanded bytes of all files of a dataset may take: a small file can expand to one that fills the
// disk, and many that fit into memory one by one need not fit together.
type room struct {
	o      *Options
	size   int64 // taken, bytes
	memory int   // of which in memory
}

// take takes n bytes of it.
func (rm *room) take(n int64) error {
	if n > rm.o.MaxInflated-rm.size {
		return rm.tooLarge()
	}
	rm.size += n
	return nil
}

func (rm *room) tooLarge() error {
	return fmt.Errorf(
		"%w of %d bytes for all compressed files of a dataset; expand it to a plain file first if it is to be trusted",
		errInflated, rm.o.MaxInflated)
}

// A spool takes expanded bytes, in memory as long as there is room, then in a temporary file.
type spool struct {
	room *room
	mem  []byte
	tmp  *os.File
	size int64
	err  error // why it took no more
}

// Write implements io.Writer.
func (w *spool) Write(p []byte) (n int, err error) {
	defer func() { w.err = err }()
	if err := w.room.take(int64(len(p))); err != nil {
		return 0, err
	}
	w.size += int64(len(p))
	if w.tmp == nil && w.room.memory+len(p) <= w.room.o.InMemory {
		w.mem = append(w.mem, p...)
		w.room.memory += len(p)
		return len(p), nil
	}
	if w.tmp == nil {
		if w.tmp, err = os.CreateTemp(w.room.o.TempDir, "ggtune-data-*"); err != nil {
			return 0, noRoom(err)
		}
		w.room.memory -= len(w.mem)
		mem := w.mem
		w.mem = nil
		if _, err := w.tmp.Write(mem); err != nil {
			return 0, noRoom(err)
		}
	}
	n, err = w.tmp.Write(p)
	return n, noRoom(err)
}

// noRoom says what helps where the temporary file cannot be written.
func noRoom(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w; TMPDIR names another folder for what is expanded, or expand it to a plain file first", err)
}

func (w *spool) readerAt() io.ReaderAt {
	if w.tmp != nil {
		return w.tmp
	}
	return bytes.NewReader(w.mem)
}

func (w *spool) discard() error {
	w.mem = nil
	if w.tmp == nil {
		return nil
	}
	name := w.tmp.Name()
	err := w.tmp.Close()
	w.tmp = nil
	return errors.Join(err, os.Remove(name))
}
