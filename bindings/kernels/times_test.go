package kernels

import (
	"math"
	"testing"
)

var _ = rows([]rowOp{
	{name: "times", op: OpTimes.Call(TimesConstants{Factor: -2.25}), out: []shape{asMatrix}, in: []shape{asMatrix},
		inPlace: []int{0}, ref: refs{pointwise(func(x []float64) float64 { return -2.25 * x[0] })}},
	{name: "times, by a number of the model's", op: OpTimes.Call(TimesConstants{Factor: 0.5}), out: []shape{asMatrix},
		in: []shape{asMatrix, asNumber}, inPlace: []int{0},
		ref: refs{pointwise(func(x []float64) float64 { return 0.5 * x[1] * x[0] })}},
})

func TestTimesRefuses(t *testing.T) {
	x := newMatrix(3, 2)
	if Check(callOf(OpTimes, TimesConstants{Factor: 1}, x, x, newMatrix(3, 1))) == nil {
		t.Error("a vector in place of a number was accepted")
	}
	for _, f := range []float64{math.Inf(-1), math.NaN()} {
		if Check(callOf(OpTimes, TimesConstants{Factor: f}, x, x)) == nil {
			t.Errorf("a factor of %g was accepted", f)
		}
	}
}
