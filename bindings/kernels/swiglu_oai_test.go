package kernels

import (
	"math"
	"testing"
)

// refOAI has a bound that normally distributed numbers often lie beyond.
var refOAI = SwiGLUOAIConstants{Alpha: 1.702, Limit: 1.2}

var _ = rows([]rowOp{
	{name: "swiglu_oai", op: OpSwiGLUOAI.Call(refOAI), out: []shape{asMatrix}, in: []shape{asMatrix, asMatrix},
		inPlace: []int{0, 1}, far: true, ref: refs{pointwise(refSwiGLUOAI)}},
	{name: "swiglu_oai_back", op: OpSwiGLUOAIBack.Call(refOAI), out: []shape{asMatrix, asMatrix},
		in: []shape{asMatrix, asMatrix, asMatrix}, inPlace: []int{0, 1, 2}, far: true,
		ref: refs{
			pointwise(func(x []float64) float64 { g, _ := refSwiGLUOAIBack(x); return g }),
			pointwise(func(x []float64) float64 { _, u := refSwiGLUOAIBack(x); return u })},
		forward: pointwise(refSwiGLUOAI), wrt: []int{0, 1}},
})

func refSwiGLUOAI(x []float64) float64 {
	g, u := min(x[0], refOAI.Limit), min(max(x[1], -refOAI.Limit), refOAI.Limit)
	return g * refSigmoid(refOAI.Alpha*g) * (u + 1)
}

func refSwiGLUOAIBack(x []float64) (dg, du float64) {
	g, u := min(x[0], refOAI.Limit), min(max(x[1], -refOAI.Limit), refOAI.Limit)
	s := refSigmoid(refOAI.Alpha * g)
	if x[0] <= refOAI.Limit {
		dg = x[2] * (u + 1) * s * (1 + refOAI.Alpha*g*(1-s))
	}
	if math.Abs(x[1]) <= refOAI.Limit {
		du = x[2] * g * s
	}
	return dg, du
}

// TestSwiGLUOAIAtBounds: at a bound the derivative is that of the inside, next to it on the other side it is 0; what
// is no number stays none.
func TestSwiGLUOAIAtBounds(t *testing.T) {
	beyond, nan := math.Nextafter32(7, 8), float32(math.NaN())
	gates := []float32{7, beyond, 100, -7, -100, 1, 1, 1, 1, nan, 1}
	ups := []float32{1, 1, 1, 1, 1, 7, -7, beyond, -beyond, 1, nan}
	atEveryLevel(t, func(t *testing.T) {
		n := len(gates)
		g, u, d, y, dg, du := newMatrix(n, 1), newMatrix(n, 1), newMatrix(n, 1), newMatrix(n, 1), newMatrix(n, 1),
			newMatrix(n, 1)
		copy(g.row(0), gates)
		copy(u.row(0), ups)
		for i := range n {
			d.row(0)[i] = 1
		}
		k := SwiGLUOAIConstants{Alpha: 1.702, Limit: 7}
		for _, c := range []*Call{callOf(OpSwiGLUOAI, k, y, g, u), callOf(OpSwiGLUOAIBack, k, dg, du, g, u, d)} {
			if err := runCall(c, 1); err != nil {
				t.Fatal(err)
			}
		}
		for i := range n {
			if (gates[i] > 7) != (dg.row(0)[i] == 0) && ups[i] == 1 && gates[i] > -100 {
				t.Errorf("gate %v: its gradient is %v", gates[i], dg.row(0)[i])
			}
			if (math.Abs(float64(ups[i])) > 7) != (du.row(0)[i] == 0) && gates[i] == 1 {
				t.Errorf("up %v: its gradient is %v", ups[i], du.row(0)[i])
			}
			if odd := gates[i] != gates[i] || ups[i] != ups[i]; odd != (y.row(0)[i] != y.row(0)[i]) {
				t.Errorf("gate %v, up %v: %v", gates[i], ups[i], y.row(0)[i])
			}
		}
		if a, b := y.row(0)[0], y.row(0)[2]; a != b {
			t.Errorf("a gate of 7 gives %v, one of 100 %v", a, b)
		}
	})
}

func TestSwiGLUOAIRefuses(t *testing.T) {
	x := newMatrix(3, 2)
	y, z := newMatrix(3, 2), newMatrix(3, 2)
	for _, k := range []SwiGLUOAIConstants{{1, 0}, {1, -7}, {1, math.Inf(1)}, {1, math.NaN()}, {math.NaN(), 7}} {
		if Check(callOf(OpSwiGLUOAI, k, x, y, z)) == nil || Check(callOf(OpSwiGLUOAIBack, k, x, y, x, y, z)) == nil {
			t.Errorf("%+v was accepted", k)
		}
	}
}
