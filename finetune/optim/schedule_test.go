package optim

import (
	"math"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/internal/setting"
)

func TestSchedules(t *testing.T) {
	for _, tc := range []struct {
		s    *Schedule
		min  float64
		want []float64
	}{
		{Constant, 0, []float64{0.5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
		{Linear, 0, []float64{0.5, 1, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.125}},
		{Linear, 0.2, []float64{0.5, 1, 1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.3}},
		{Cosine, 0, []float64{0.5, 1, 1, 0.9619397662556434, 0.8535533905932737, 0.6913417161825449, 0.5,
			0.3086582838174551, 0.14644660940672627, 0.03806023374435663, 0.03806023374435663}},
		{WSD, 0, []float64{0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0.25}},
	} {
		t.Run(tc.s.Name, func(t *testing.T) {
			given := setting.Values{"warmup": 2}
			if tc.min != 0 {
				given["min-lr"] = tc.min
			}
			if tc.s == WSD {
				given["decay"] = 4
			}
			c, err := tc.s.Course(given, 10)
			if err != nil {
				t.Fatal(err)
			}
			for step, want := range tc.want {
				if got := tc.s.Factor(c, step); math.Abs(got-want) > 1e-12 {
					t.Errorf("step %d: got %v, want %v", step, got, want)
				}
			}
		})
	}
}

// TestScheduleConformance checks every registered schedule: within 0 and 1, rising in the warm-up, never 0 within the
// run, never rising after it, and another course for another value of each setting that it reads.
func TestScheduleConformance(t *testing.T) {
	for _, s := range Schedules() {
		course := func(given setting.Values, steps int) Course {
			c, err := s.Course(given, steps)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		for _, c := range []Course{course(nil, 1), course(setting.Values{"warmup": 1}, 2),
			course(setting.Values{"warmup": 7}, 50), course(setting.Values{"warmup": 0, "decay": 100}, 5)} {
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
			a, b := s.Factor(course(nil, 10), 5), s.Factor(course(nil, 20), 5)
			if a != b {
				t.Errorf("%s: step 5 of 10 is %v, of 20 %v, though the end is said not to matter", s.Name, a, b)
			}
		}
		for _, u := range s.Reads {
			plain, other := course(nil, 40), course(setting.Values{u.Setting.Name: u.Default + 0.5}, 40)
			same := true
			for step := range plain.Steps {
				same = same && s.Factor(plain, step) == s.Factor(other, step)
			}
			if same {
				t.Errorf("%s does not look at --%s", s.Name, u.Setting.Name)
			}
		}
	}
	if _, err := GetSchedule("cosin"); err == nil {
		t.Error("an unknown schedule is accepted")
	}
}

// TestCourse: lengths are steps or a fraction of all, and at least one step is at the peak.
func TestCourse(t *testing.T) {
	for _, tc := range []struct {
		warmup float64
		steps  int
		want   int
		err    string
	}{
		{0.03, 100, 3, ""}, {0.03, 10, 0, ""}, {0.99, 2, 1, ""}, {1, 2, 1, ""}, {2.9, 10, 2, ""}, {9, 10, 9, ""},
		{10, 10, 0, "--warmup: 10 steps of warm-up, and the run has 10"}, {1, 1, 0, "--warmup: 1 steps"},
		{-1, 10, 0, "--warmup is -1; expected steps"},
	} {
		c, err := Constant.Course(setting.Values{"warmup": tc.warmup, "decay": -7}, tc.steps)
		if c.Warmup != tc.want || (err == nil) != (tc.err == "") || err != nil &&
			!strings.Contains(err.Error(), tc.err) {
			t.Errorf("warm-up %g of %d: got %d, %v; want %d, %q", tc.warmup, tc.steps, c.Warmup, err, tc.want, tc.err)
		}
	}
}
