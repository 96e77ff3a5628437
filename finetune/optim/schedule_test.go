package optim

import (
	"math"
	"testing"
)

func TestSchedules(t *testing.T) {
	c := Course{Steps: 10, Warmup: 2, Decay: 4}
	for _, tc := range []struct {
		s    *Schedule
		min  float64
		want []float64
	}{
		{Constant, 0, []float64{0.5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
		{Linear, 0, []float64{0.5, 1, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.125}},
		{Linear, 0.2, []float64{0.5, 1, 1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.3}},
		{Cosine, 0, []float64{0.5, 1, 1, 0.9619397662556434, 0.8535533905932737, 0.6913417161825449, 0.5, 0.3086582838174551, 0.14644660940672627, 0.03806023374435663, 0.03806023374435663}},
		{WSD, 0, []float64{0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0.25}},
	} {
		t.Run(tc.s.Name, func(t *testing.T) {
			c := c
			c.MinRatio = tc.min
			for step, want := range tc.want {
				if got := tc.s.Factor(c, step); math.Abs(got-want) > 1e-12 {
					t.Errorf("step %d: got %v, want %v", step, got, want)
				}
			}
		})
	}
}

// TestScheduleConformance checks every registered schedule: within 0 and 1, rising in the warm-up, never 0 within the run,
// and never rising after it.
func TestScheduleConformance(t *testing.T) {
	for _, s := range Schedules() {
		for _, c := range []Course{{Steps: 1}, {Steps: 2, Warmup: 1}, {Steps: 50, Warmup: 7, MinRatio: 0.1, Decay: 10}, {Steps: 5, Decay: 100}} {
			last := 0.0
			for step := range c.Steps {
				f := s.Factor(c, step)
				if !(f > 0 && f <= 1) {
					t.Errorf("%s %+v: step %d: factor %v, want above 0, at most 1", s.Name, c, step, f)
				}
				if step < c.Warmup && f <= last || step > c.Warmup && f > last {
					t.Errorf("%s %+v: step %d: factor %v after %v", s.Name, c, step, f, last)
				}
				last = f
			}
		}
		if !s.UsesEnd {
			a, b := s.Factor(Course{Steps: 10}, 5), s.Factor(Course{Steps: 20}, 5)
			if a != b {
				t.Errorf("%s: step 5 of 10 is %v, of 20 %v, though the end is said not to matter", s.Name, a, b)
			}
		}
	}
	if _, err := GetSchedule("cosin"); err == nil {
		t.Error("an unknown schedule is accepted")
	}
}
