package kernels

import (
	"math"
	"testing"
)

var _ = rows([]rowOp{
	{name: "times", op: OpTimes.Call(TimesConstants{Factor: -2.25}), out: []shape{asMatrix}, in: []shape{asMatrix},
		inPlace: []int{0}, ref: refs{pointwise(func(x []float64) float64 { return -2.25 * x[0] })}},
})

func TestTimesRefuses(t *testing.T) {
	x := newMatrix(3, 2)
	for _, f := range []float64{math.Inf(-1), math.NaN()} {
		if Check(callOf(OpTimes, TimesConstants{Factor: f}, x, x)) == nil {
			t.Errorf("a factor of %g was accepted", f)
		}
	}
}
