package optim

import (
	"math"
	"slices"
	"testing"
)

// TestAverage follows the formula in float64 from the start, and swaps to the bit.
func TestAverage(t *testing.T) {
	p := bigParams(t, newBackend(t, 2), updated+7)
	a := mustStartOf(t, AdamW, p, nil, Options{EMA: 0.5})
	want := make([][]float64, len(p))
	for k, x := range p {
		for _, v := range x.value {
			want[k] = append(want[k], float64(v))
		}
	}
	for step := 1; step <= 20; step++ { // until the decay itself is the bound
		mustUpdate(t, a, 0.01, 1)
		d := math.Min(0.5, float64(1+step)/float64(10+step))
		for k, x := range p {
			for i, v := range x.value {
				want[k][i] = d*want[k][i] + (1-d)*float64(v)
			}
		}
	}
	var was [][]float32
	for _, x := range p {
		was = append(was, slices.Clone(x.value))
	}
	if err := a.Swap(); err != nil {
		t.Fatal(err)
	}
	for k, x := range p {
		for i, v := range x.value {
			if math.Abs(float64(v)-want[k][i]) > 1e-6 { // F32 rounding of numbers of about 1, 20 times
				t.Fatalf("%s[%d]: %v, want %v", x.Name, i, v, want[k][i])
			}
		}
		if slices.Equal(x.value, was[k]) {
			t.Errorf("%s: averages are the parameters", x.Name)
		}
	}
	if err := a.Swap(); err != nil {
		t.Fatal(err)
	}
	for k, x := range p {
		if !slices.Equal(x.value, was[k]) {
			t.Errorf("%s: swapped twice, parameters are others", x.Name)
		}
	}
}

// TestAverageGoesOn: given another's state, an average goes on as it would; its bytes are counted among what is taken.
func TestAverageGoesOn(t *testing.T) {
	b := newBackend(t, 1)
	one, two := bigParams(t, b, 10), bigParams(t, b, 10)
	x, y := mustStartOf(t, AdamW, one, nil, Options{EMA: 0.9}), mustStartOf(t, AdamW, two, nil, Options{EMA: 0.9})
	mustUpdate(t, x, 0.01, 1)
	to := y.State()
	for i, s := range x.State() {
		piece := make([]byte, 4*s.N)
		if s.Name != to[i].Name || s.Memory.Read(piece, 0) != nil || to[i].Memory.Write(piece, 0) != nil {
			t.Fatal(s.Name)
		}
	}
	for k := range one {
		copy(two[k].value, one[k].value)
	}
	y.SetUpdates(1)
	for _, a := range []*Running{x, y} {
		mustUpdate(t, a, 0.01, 1)
		if err := a.Swap(); err != nil {
			t.Fatal(err)
		}
	}
	for k := range one {
		if !slices.Equal(one[k].value, two[k].value) {
			t.Errorf("%s: restored, the average goes on otherwise", one[k].Name)
		}
	}
}
