package kernels

import (
	"math"
	"testing"
)

// refCap is small enough that normally distributed numbers reach where tanh bends.
const refCap = 1.5

var _ = rows([]rowOp{
	{name: "softcap", op: OpSoftCap.Call(SoftCapConstants{Cap: refCap}), out: []shape{asMatrix}, in: []shape{asMatrix},
		inPlace: []int{0}, far: true, ref: refs{pointwise(refSoftCap)}},
	{name: "softcap_back", op: OpSoftCapBack.Call(SoftCapConstants{Cap: refCap}), out: []shape{asMatrix},
		in: []shape{asMatrix, asMatrix}, inPlace: []int{0, 1}, far: true,
		ref: refs{pointwise(func(x []float64) float64 {
			th := math.Tanh(x[0] / refCap)
			return x[1] * (1 - th*th)
		})},
		forward: pointwise(refSoftCap), wrt: []int{0}},
})

func refSoftCap(x []float64) float64 { return refCap * math.Tanh(x[0]/refCap) }

// TestSoftCapNear holds small numbers to their own size: next to a bound of 50 they pass as they are.
func TestSoftCapNear(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		x, y := newMatrix(37, 1), newMatrix(37, 1)
		for i := range x.row(0) {
			x.row(0)[i] = float32(math.Pow(2, float64(i)-31)) // up to 32
		}
		if err := runCall(callOf(OpSoftCap, SoftCapConstants{Cap: 50}, y, x), 1); err != nil {
			t.Fatal(err)
		}
		for i, v := range x.row(0) {
			want := 50 * math.Tanh(float64(v)/50)
			if got := float64(y.row(0)[i]); math.Abs(got-want) > 4e-7*want {
				t.Errorf("of %g: got %v, want %v", v, got, want)
			}
		}
	})
}

func TestSoftCapRefuses(t *testing.T) {
	x := newMatrix(3, 2)
	for _, bound := range []float64{0, -30, math.Inf(1), math.NaN()} {
		k := SoftCapConstants{Cap: bound}
		if Check(callOf(OpSoftCap, k, x, x)) == nil || Check(callOf(OpSoftCapBack, k, x, x, x)) == nil {
			t.Errorf("a bound of %g was accepted", bound)
		}
	}
}
