package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/internal/atomicfile"
)

// A Log is a run's metrics.jsonl: one line for each step, in order, each step once, also over resumes. It is not safe
// for concurrent use.
type Log struct{ *lines[Line] }

// OpenLog opens the log of a run that stands at step: later lines, and a last one cut short, are removed, because the
// run is about to write them again.
func OpenLog(path string, step int) (*Log, error) {
	l, err := openLines(path, "metrics", func(before []Line, line Line) bool {
		last := 0
		if n := len(before); n > 0 {
			last = before[n-1].Step
		}
		return last < line.Step && line.Step <= step
	})
	if err != nil {
		return nil, err
	}
	return &Log{l}, l.open()
}

// Amend changes the last line, if there is one: an evaluation comes after the step it belongs to. The file is replaced
// whole, so that a line is never lost.
func (l *Log) Amend(change func(*Line)) error {
	if len(l.all) == 0 {
		return nil
	}
	change(&l.all[len(l.all)-1])
	var b bytes.Buffer
	for _, line := range l.all {
		if err := l.encode(&b, line); err != nil {
			return err
		}
	}
	if err := l.Close(); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	if err := atomicfile.WriteFile(nil, l.path, b.Bytes(), 0o666); err != nil {
		return errors.Join(err, l.open())
	}
	return l.open()
}

// Close closes the file; it may be called again and on nil.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	return l.lines.Close()
}

// WriteSummary writes report.json.
func WriteSummary(path string, s Summary) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return atomicfile.WriteFile(nil, path, append(b, '\n'), 0o666)
}
