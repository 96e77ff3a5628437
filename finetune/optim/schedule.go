package optim

import (
	"math"

	"github.com/ggtune/ggtune/internal/registry"
)

// A Course is what a schedule needs to know of a run.
type Course struct {
	Steps  int // of the whole run, at least 1
	Warmup int // steps of linear rise from 0, below Steps
	// MinRatio is the learning rate at the end relative to the peak, 0 to 1.
	MinRatio float64
	// Decay is how many of the last steps a schedule with a plateau falls in.
	Decay int
}

// A Schedule gives the learning rate of a step relative to the peak: a pure function of the step. Register one with a
// package-level variable.
type Schedule struct {
	Name string
	Doc  string
	// UsesEnd says that the rate of a step depends on how long the run is: a finished run cannot be made longer then.
	UsesEnd bool
	// After gives the factor behind the warm-up: of step done of left steps (0 ≤ done < left), before MinRatio is applied.
	After func(c Course, done, left int) float64
}

var schedules = registry.New[*Schedule]("schedule")

func registerSchedule(s *Schedule) *Schedule { return schedules.Register(s.Name, s) }

// GetSchedule gives the schedule of that name; the error lists the names.
func GetSchedule(name string) (*Schedule, error) { return schedules.Get(name) }

// Schedules lists the schedules by name.
func Schedules() []*Schedule { return schedules.All() }

// Factor gives the learning rate of a step (from 0) relative to the peak. The warm-up's first step is 1/Warmup, not 0: a
// step at rate 0 is a step wasted. Behind the end of the run it stays at its last value.
func (s *Schedule) Factor(c Course, step int) float64 {
	if step < c.Warmup {
		return float64(step+1) / float64(c.Warmup)
	}
	left := max(c.Steps-c.Warmup, 1)
	done := min(step-c.Warmup, left-1)
	f := s.After(c, done, left)
	return c.MinRatio + (1-c.MinRatio)*f
}

// Constant stays at the peak.
var Constant = registerSchedule(&Schedule{
	Name:  "constant",
	Doc:   "stays at the peak after the warm-up",
	After: func(Course, int, int) float64 { return 1 },
})

// Linear falls in a straight line; the step after the last would be at 0.
var Linear = registerSchedule(&Schedule{
	Name:    "linear",
	Doc:     "falls in a straight line to the end",
	UsesEnd: true,
	After:   func(_ Course, done, left int) float64 { return 1 - float64(done)/float64(left) },
})

// Cosine falls as half a cosine (Loshchilov and Hutter 2017, "SGDR", equation 5, without restarts).
var Cosine = registerSchedule(&Schedule{
	Name:    "cosine",
	Doc:     "falls as half a cosine to the end",
	UsesEnd: true,
	After: func(_ Course, done, left int) float64 {
		return 0.5 * (1 + math.Cos(math.Pi*float64(done)/float64(left)))
	},
})

// WSD is warm-up, stable, decay (Hu et al. 2024, "MiniCPM", section 4), with a straight fall.
var WSD = registerSchedule(&Schedule{
	Name:    "wsd",
	Doc:     "stays at the peak, then falls in a straight line over the last steps",
	UsesEnd: true,
	After: func(c Course, done, left int) float64 {
		decay := min(c.Decay, left)
		if into := done - (left - decay); into > 0 {
			return 1 - float64(into)/float64(decay)
		}
		return 1
	},
})
