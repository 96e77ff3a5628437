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

// A Log is a run's metrics.jsonl: one line for each step, in order, each step once, also over resumes. It is not safe
// for concurrent use.
type Log struct {
	path  string
	f     *os.File
	lines []Line
}

// maxLog bounds a log, bytes: a million steps have 300 MB.
const maxLog = 1 << 30

// OpenLog opens the log of a run that stands at step: later lines, and a last one cut short, are removed, because the
// run is about to write them again.
func OpenLog(path string, step int) (*Log, error) {
	raw, err := regular.Read(path, maxLog)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	l := &Log{path: path}
	kept := 0
	for kept < len(raw) {
		n := bytes.IndexByte(raw[kept:], '\n')
		if n < 0 {
			break
		}
		var line Line
		if json.Unmarshal(raw[kept:kept+n], &line) != nil || line.Step > step || line.Step <= l.last() {
			break
		}
		l.lines = append(l.lines, line)
		kept += n + 1
	}
	if kept < len(raw) {
		if err := atomicfile.WriteFile(nil, path, raw[:kept], 0o666); err != nil {
			return nil, err
		}
	}
	return l, l.open()
}

func (l *Log) open() error {
	var err error
	if l.f, err = os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666); err != nil {
		return fmt.Errorf("open metrics: %w", err)
	}
	return nil
}

// last is the step of the last line, 0 without one.
func (l *Log) last() int {
	if len(l.lines) == 0 {
		return 0
	}
	return l.lines[len(l.lines)-1].Step
}

// Append writes the line of one step.
func (l *Log) Append(line Line) error {
	b, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("metrics of step %d: %w", line.Step, err)
	}
	if _, err := l.f.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("write metrics: %w; free some space on that disk, then go on with --resume", err)
	}
	l.lines = append(l.lines, line)
	return nil
}

// Amend changes the last line, if there is one: an evaluation comes after the step it belongs to. The file is replaced
// whole, so that a line is never lost.
func (l *Log) Amend(change func(*Line)) error {
	if len(l.lines) == 0 {
		return nil
	}
	change(&l.lines[len(l.lines)-1])
	var b bytes.Buffer
	for _, line := range l.lines {
		raw, err := json.Marshal(line)
		if err != nil {
			return fmt.Errorf("metrics of step %d: %w", line.Step, err)
		}
		b.Write(append(raw, '\n'))
	}
	if err := l.Close(); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	if err := atomicfile.WriteFile(nil, l.path, b.Bytes(), 0o666); err != nil {
		return errors.Join(err, l.open())
	}
	return l.open()
}

// Sync flushes what was appended: a checkpoint must not be newer than the log.
func (l *Log) Sync() error {
	if err := l.f.Sync(); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}

// Lines gives all lines of the run.
func (l *Log) Lines() []Line { return l.lines }

// Close closes the file; it may be called again and on nil.
func (l *Log) Close() error {
	if l == nil || l.f == nil {
		return nil
	}
	f := l.f
	l.f = nil
	return f.Close()
}

// WriteSummary writes report.json.
func WriteSummary(path string, s Summary) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return atomicfile.WriteFile(nil, path, append(b, '\n'), 0o666)
}
