package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/regular"
)

// maxLines bounds a file of lines, bytes: a million steps have 300 MB of metrics.
const maxLines = 1 << 30

// A lines is a file of a run with a JSON object a line, which only grows. what names it in messages.
type lines[T any] struct {
	path, what string
	f          *os.File
	all        []T
}

// openLines reads the file as far as keep agrees, which is told the lines before. What follows, and a last line cut
// short, is removed, because the run is about to write it again. No file is one without lines.
func openLines[T any](path, what string, keep func(before []T, line T) bool) (*lines[T], error) {
	l := &lines[T]{path: path, what: what}
	raw, err := regular.Read(path, maxLines)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	kept := 0
	for kept < len(raw) {
		n := bytes.IndexByte(raw[kept:], '\n')
		var line T
		if n < 0 || json.Unmarshal(raw[kept:kept+n], &line) != nil || !keep(l.all, line) {
			break
		}
		l.all = append(l.all, line)
		kept += n + 1
	}
	if kept < len(raw) {
		if err := atomicfile.WriteFile(nil, path, raw[:kept], 0o666); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// open makes the file ready to be written to; it makes it where there is none.
func (l *lines[T]) open() error {
	if l.f != nil {
		return nil
	}
	var err error
	if l.f, err = os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666); err != nil {
		return fmt.Errorf("open %s: %w", l.what, err)
	}
	return nil
}

// encode writes a line as it stands in the file.
func (l *lines[T]) encode(b *bytes.Buffer, line T) error {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(line); err != nil {
		return fmt.Errorf("write %s: %w", l.what, err)
	}
	return nil
}

// Append writes one line.
func (l *lines[T]) Append(line T) error {
	var b bytes.Buffer
	if err := l.encode(&b, line); err != nil {
		return err
	}
	if err := l.open(); err != nil {
		return err
	}
	if _, err := l.f.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write %s: %w; free some space on that disk, then go on with --resume", l.what, err)
	}
	l.all = append(l.all, line)
	return nil
}

// Sync flushes what was appended: a checkpoint must not be newer than the file.
func (l *lines[T]) Sync() error {
	if l.f == nil {
		return nil
	}
	if err := l.f.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", l.what, err)
	}
	return nil
}

// Lines gives all lines of the run.
func (l *lines[T]) Lines() []T { return l.all }

// Close closes the file; it may be called again and on nil.
func (l *lines[T]) Close() error {
	if l == nil || l.f == nil {
		return nil
	}
	f := l.f
	l.f = nil
	return f.Close()
}
