package watch

import (
	"fmt"
	"sync"

	"github.com/ggtune/ggtune/finetune/report"
)

// Live is a report.Reporter that keeps what a run in this process tells and does not write down: what it is at. It is
// safe for concurrent use; the zero value knows of no run.
type Live struct {
	mu       sync.Mutex
	active   bool // a run is under way in this process
	activity string
	start    *report.Start
	failed   string
}

// Begin says that a run begins in this process.
func (l *Live) Begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active, l.activity, l.start, l.failed = true, "reading model and data", nil, ""
}

// End says that it has ended: "" for as it should.
func (l *Live) End(failed string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active, l.activity, l.failed = false, "", failed
}

// Report implements report.Reporter.
func (l *Live) Report(e report.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e := e.(type) {
	case report.Started:
		l.start = &report.Start{Started: e}
	case report.Notice:
		if l.start != nil {
			l.start.Notes = append(l.start.Notes, e.Text)
		}
	case report.Evaluated:
		if l.start != nil && e.Step == 0 {
			l.start.Measured(e)
		}
	case report.Progress:
		l.activity = e.What
		if e.Total > 0 {
			l.activity = fmt.Sprintf("%s, %d of %d", e.What, e.Done, e.Total)
		}
		if e.What == "train" {
			l.activity = fmt.Sprintf("micro-batch %d of %d", e.Done, e.Total)
		}
	case report.Step:
		l.activity = ""
	}
}

// look gives a copy.
func (l *Live) look() (active bool, activity, failed string, start *report.Start) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.start != nil {
		s := *l.start
		start = &s
	}
	return l.active, l.activity, l.failed, start
}
