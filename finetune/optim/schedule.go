package optim

import (
	"errors"
	"fmt"
	"math"

	"github.com/ggtune/ggtune/internal/registry"
	"github.com/ggtune/ggtune/internal/setting"
)

// The settings that several schedules read. Every schedule reads warmup.
var (
	warmup = &setting.Setting{
		Name:    "warmup",
		Usage:   "rise at the start, over `N` steps, fewer than all, or a fraction of all below 1",
		Range:   setting.Below(0, 1e9, "steps, or a fraction below 1"),
		Default: new(0.03),
	}
	minLR = &setting.Setting{
		Name:    "min-lr",
		Usage:   "learning rate at the end, as a `FRACTION` of the peak",
		Range:   setting.Within(0, 1, "0 to 1, a fraction of the peak"),
		Default: new(0.0),
	}
)

// A Course is what a schedule needs to know of a run. It is made by Schedule.Course.
type Course struct {
	Steps  int // of the whole run, at least 1
	Warmup int // steps of linear rise from 0, below Steps
	// Settings are those that the schedule reads. A checkpoint does without: they follow from the run's.
	Settings setting.Values `json:"-"`
}

// A Schedule gives the learning rate of a step relative to the peak: a pure function of the step. Register one with a
// package-level variable.
type Schedule struct {
	Name string
	Doc  string
	// UsesEnd says that the rate of a step depends on how long the run is: a finished run cannot be made longer then.
	UsesEnd bool
	// Reads lists the schedule's own settings, with those of all of them.
	Reads []setting.Use
	// After gives the factor behind the warm-up: of step done of left steps (0 ≤ done < left), before min-lr is
	// applied.
	After func(c Course, done, left int) float64
}

var schedules = registry.New[*Schedule]("schedule")

func registerSchedule(s *Schedule) *Schedule {
	s.Reads = append([]setting.Use{warmup.Use()}, s.Reads...)
	return schedules.Register(s.Name, s)
}

// GetSchedule gives the schedule of that name; the error lists the names.
func GetSchedule(name string) (*Schedule, error) { return schedules.Get(name) }

// ScheduleNames lists the names of the schedules.
func ScheduleNames() []string { return schedules.Names() }

// Schedules lists the schedules by name.
func Schedules() []*Schedule { return schedules.All() }

// Endless lists the schedules under which a run may grow: no rate of theirs depends on where it ends.
func Endless() (names []string) {
	for _, s := range Schedules() {
		if !s.UsesEnd {
			names = append(names, s.Name)
		}
	}
	return names
}

// ScheduleReaders lists the schedules with the settings they read.
func ScheduleReaders() setting.Readers {
	r := setting.Readers{Kind: "schedule"}
	for _, s := range Schedules() {
		r.List = append(r.List, setting.Reader{Name: s.Name, Uses: s.Reads})
	}
	return r
}

// Course plans a run of that many steps. It refuses settings out of range, and a warm-up, given in steps, that the
// run would never leave.
func (s *Schedule) Course(given setting.Values, steps int) (Course, error) {
	v, _, errs := setting.Resolve(given, s.Reads, ScheduleReaders().Settings())
	if err := errors.Join(errs...); err != nil {
		return Course{}, err
	}
	rise := v.Of(warmup)
	if rise >= 1 && rise >= float64(steps) {
		return Course{}, fmt.Errorf("--%s: %g steps of warm-up, and the run has %d: the learning rate would never "+
			"reach its peak; expected fewer, or a fraction below 1", warmup.Name, rise, steps)
	}
	// At least one step at the peak.
	return Course{Steps: steps, Warmup: min(inSteps(rise, steps), steps-1), Settings: v}, nil
}

// inSteps reads a length that is given in steps or, below 1, as a fraction of all.
func inSteps(x float64, steps int) int {
	if x < 1 {
		x = math.Round(x * float64(steps))
	}
	return min(int(x), steps)
}

// Factor gives the learning rate of a step (from 0) relative to the peak. The warm-up's first step is 1/Warmup, not
// 0: a step at rate 0 is a step wasted. Behind the end of the run it stays at its last value.
func (s *Schedule) Factor(c Course, step int) float64 {
	if step < c.Warmup {
		return float64(step+1) / float64(c.Warmup)
	}
	left := max(c.Steps-c.Warmup, 1)
	done := min(step-c.Warmup, left-1)
	f := s.After(c, done, left)
	if _, falls := setting.Reads(s.Reads, minLR); falls {
		least := c.Settings.Of(minLR)
		f = least + (1-least)*f
	}
	return f
}
