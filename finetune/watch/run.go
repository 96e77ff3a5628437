// Package watch looks at runs from outside: their files, as they grow, and whether they are under way. It trains
// nothing and changes nothing.
package watch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/rundir"
	"github.com/ggtune/ggtune/internal/regular"
)

// A State says how far a run is.
type State string

// The states.
const (
	Preparing State = "preparing" // in this process; nothing is written yet
	Running   State = "running"
	Stopping  State = "stopping" // asked to stop
	Stopped   State = "stopped"  // by somebody, or by an accident
	Done      State = "done"
)

// Small files of a run, bytes: run.toml has 4,000, report.json 2,000.
const mostSmall = 1 << 20

// A Status is all of a run but its steps and samples.
type Status struct {
	State    State             `json:"state"`
	Name     string            `json:"name"`     // of its directory
	Activity string            `json:"activity"` // what it is at beside steps, where it runs in this process
	Failed   string            `json:"failed"`   // why it ended, where it ran in this process and failed
	Faults   []string          `json:"faults"`   // of its files
	Start    *report.Start     `json:"start"`    // null for a run from before start.json
	Counts   []report.CountRow `json:"counts"`   // what became of the data, as the start-up table has it
	Settings string            `json:"settings"` // run.toml
	Figures  []report.Figure   `json:"figures"`  // of a run by rewards, those that say how it goes, in order
	Report   *report.Summary   `json:"report"`   // null until its end
}

// A Run is a run's directory as others see it. It is safe for concurrent use.
type Run struct {
	dir  string
	live *Live

	mu      sync.Mutex
	metrics tail
	samples tail
}

// Open looks at a directory; live is what tells of a run in this process, or nil. Nothing needs to be there yet.
func Open(dir string, live *Live) *Run {
	if live == nil {
		live = &Live{}
	}
	r := &Run{dir: dir, live: live}
	r.metrics.path, r.samples.path = filepath.Join(dir, rundir.Metrics), filepath.Join(dir, rundir.Samples)
	return r
}

// Dir is the run's directory.
func (r *Run) Dir() string { return r.dir }

// Live is what tells of a run in this process.
func (r *Run) Live() *Live { return r.live }

// Status looks at everything but steps and samples.
func (r *Run) Status() Status {
	active, activity, failed, start := r.live.look()
	s := Status{Name: r.dir, Activity: activity, Failed: failed, Start: start, Faults: []string{}}
	fault := func(err error) {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.Faults = append(s.Faults, err.Error())
		}
	}
	text, err := regular.Read(filepath.Join(r.dir, rundir.Settings), mostSmall)
	fault(err)
	s.Settings = string(text)
	// A run that goes on does not tell again what the base measures.
	if s.Start == nil || s.Start.Step > 0 && s.Start.Before == nil {
		from, err := report.ReadStart(filepath.Join(r.dir, rundir.Start))
		fault(err)
		if err == nil && s.Start != nil {
			s.Start.Before = from.Before
		} else if err == nil {
			s.Start = &from
		}
	}
	if s.Start != nil {
		s.Counts = report.CountRows(s.Start.Train, s.Start.Held)
	}
	s.Figures = r.figures()
	s.Report, err = readReport(r.dir)
	fault(err)
	s.State = state(r.dir, active, s.Report != nil)
	return s
}

// figures are those that the newest step has, as far as it was read (Since).
func (r *Run) figures() []report.Figure {
	r.mu.Lock()
	defer r.mu.Unlock()
	var l report.Line
	if n := len(r.metrics.lines); n == 0 || json.Unmarshal(r.metrics.lines[n-1].text, &l) != nil {
		return nil
	}
	return report.Figures([]report.Line{l})
}

// state looks whether a run is under way; done is whether report.json is there, which a run that goes on removes.
func state(dir string, active, done bool) State {
	switch running := rundir.Running(dir); {
	case running && rundir.Asked(dir):
		return Stopping
	case running:
		return Running
	case active:
		return Preparing
	case done:
		return Done
	}
	return Stopped
}

func readReport(dir string) (*report.Summary, error) {
	path := filepath.Join(dir, rundir.Report)
	text, err := regular.Read(path, mostSmall)
	if err != nil {
		return nil, err
	}
	var s report.Summary
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &s, nil
}

// Lines are what is new of a file: of what was given before, only so much still stands.
type Lines struct {
	From  int               `json:"from"`  // lines that stand
	After float64           `json:"after"` // the step of the last one that stands, 0 for none
	Lines []json.RawMessage `json:"lines"`
	Every int               `json:"every"` // one of so many steps is among them, and all that were evaluated
}

// A Place is how much somebody has seen of a run's steps and samples.
type Place struct {
	metrics, samples place
	every            int
}

// mostPoints is how many steps are shown: more than a screen has columns, several times over.
const mostPoints = 20_000

// Since gives what is new to who has seen a run up to a place, nil for nothing, and where that leaves them.
func (r *Run) Since(p Place) (metrics, samples *Lines, now Place, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err = errors.Join(r.metrics.refresh(), r.samples.refresh())
	every := 1
	for len(r.metrics.lines)/every > mostPoints {
		every *= 2
	}
	now.every = every
	if p.every != every {
		p.metrics = place{}
	}
	metrics, now.metrics = fresh(&r.metrics, p.metrics, every)
	samples, now.samples = fresh(&r.samples, p.samples, 1)
	return metrics, samples, now, err
}

// fresh gives what is new of a tail, leaving out all but one of every lines, or nil.
func fresh(t *tail, p place, every int) (*Lines, place) {
	from, lines, now := t.since(p)
	if len(lines) == 0 && from == p.lines {
		return nil, now
	}
	out := &Lines{From: from, Lines: []json.RawMessage{}, Every: every}
	if from > 0 {
		out.After, _ = look(t.lines[from-1].text)
	}
	for i, l := range lines {
		_, evaluated := look(l.text)
		if (from+i)%every == 0 || evaluated {
			out.Lines = append(out.Lines, l.text)
		}
	}
	return out, now
}

// look gives the step of a line, and whether an evaluation followed it.
func look(text []byte) (step float64, evaluated bool) {
	var l struct {
		Step     float64  `json:"step"`
		EvalLoss *float64 `json:"eval_loss"`
	}
	if json.Unmarshal(text, &l) != nil {
		return 0, false
	}
	return l.Step, l.EvalLoss != nil
}

// IsRun says whether a directory is one of a run.
func IsRun(dir string) bool {
	return slices.ContainsFunc([]string{rundir.Settings, rundir.Metrics, rundir.Report}, func(name string) bool {
		st, err := os.Stat(filepath.Join(dir, name))
		return err == nil && st.Mode().IsRegular()
	})
}
