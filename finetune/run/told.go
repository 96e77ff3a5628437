package run

import (
	"errors"
	"io/fs"
	"time"

	"github.com/ggtune/ggtune/finetune/report"
)

// told passes events on and keeps of them what start.json holds. It is used by one goroutine at a time.
type told struct {
	report.Reporter
	start report.Start
	path  string // "" until keep
	err   error  // of writing notes that came later
}

// Report implements report.Reporter.
func (t *told) Report(e report.Event) {
	switch e := e.(type) {
	case report.Started:
		t.start.Started, t.start.Time = e, time.Now().UTC().Truncate(time.Second)
	case report.Notice:
		t.start.Notes = append(t.start.Notes, e.Text)
		if t.path != "" && t.err == nil {
			t.err = t.start.Write(t.path)
		}
	case report.Evaluated:
		if e.Step == 0 {
			t.start.Measured(e)
		}
	}
	t.Reporter.Report(e)
}

// keep writes start.json, and writes it again when more is told. A run that goes on does not measure its base again.
func (t *told) keep(path string, resumed bool) error {
	if resumed && t.start.Before == nil {
		old, err := report.ReadStart(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		t.start.Before = old.Before
	}
	t.path = path
	return t.start.Write(path)
}
