package method

import (
	"math"
	"testing"
)

func TestNumericsAtLargeArguments(t *testing.T) {
	for _, tc := range []struct {
		name      string
		got, want float64
	}{
		{"softplus(0)", softplus(0), math.Ln2},
		{"softplus(1e4)", softplus(1e4), 1e4},
		{"softplus(-1e4)", softplus(-1e4), 0},
		{"softplus(-40)", softplus(-40), math.Exp(-40)},
		{"softplus(-700)", softplus(-700), math.Exp(-700)},
		{"sigmoid(-700)", sigmoid(-700), math.Exp(-700)},
		{"sigmoid(1e4)", sigmoid(1e4), 1},
		{"sigmoid(-1e4)", sigmoid(-1e4), 0},
		{"bell(0)", bell(0), 0.25},
		{"bell(40)", bell(40), math.Exp(-40)},
		{"bell(-40)", bell(-40), math.Exp(-40)},
	} {
		if math.Abs(tc.got-tc.want) > 1e-14*tc.want {
			t.Errorf("%s: got %g, want %g", tc.name, tc.got, tc.want)
		}
	}
}

// TestLogOdds holds the log-odds against their formula, and their slope against differences, up to certainty and past
// it.
func TestLogOdds(t *testing.T) {
	for _, p := range []float64{1e-300, 0.1, 0.5, 0.999} {
		odds, slope := logOdds(math.Log(p))
		if want := math.Log(p / (1 - p)); math.Abs(odds-want) > 1e-12*math.Max(1, math.Abs(want)) {
			t.Errorf("log odds of %g: got %g, want %g", p, odds, want)
		}
		if want := 1 / (1 - p); math.Abs(slope-want) > 1e-12*want {
			t.Errorf("slope at %g: got %g, want %g", p, slope, want)
		}
	}
	const h = 1e-10
	for _, lp := range []float64{-1e-3, 1.001 * certain, certain, 0.5 * certain, 0, 1e-7} {
		_, slope := logOdds(lp)
		up, _ := logOdds(lp + h)
		down, _ := logOdds(lp - h)
		if want := (up - down) / (2 * h); math.Abs(slope-want) > 1e-3*want {
			t.Errorf("slope at log p = %g: got %g, finite difference %g", lp, slope, want)
		}
	}
}
