package synth

import (
	"math"
	"testing"
)

func f16ToFloat(h uint16) float64 {
	e, m := int(h>>10&31), float64(h&1023)
	x := math.Ldexp(m, -24)
	if e > 0 {
		x = math.Ldexp(1024+m, e-25)
	}
	if h&0x8000 != 0 {
		x = -x
	}
	return x
}

// Every finite half-precision number is its own image, and numbers between two go to the nearer one.
func TestF16(t *testing.T) {
	for h := range uint16(0x7c00) {
		x := f16ToFloat(h)
		if got := f16(x); got != h {
			t.Fatalf("f16(%g): got %#04x, want %#04x", x, got, h)
		}
		if got := f16(-x); x != 0 && got != h|0x8000 {
			t.Fatalf("f16(%g): got %#04x, want %#04x", -x, got, h|0x8000)
		}
		if h+1 < 0x7c00 {
			next := f16ToFloat(h + 1)
			if got := f16(x + 0.49*(next-x)); got != h {
				t.Fatalf("just below the middle after %g: got %#04x, want %#04x", x, got, h)
			}
			even := h + h&1
			if got := f16((x + next) / 2); got != even {
				t.Fatalf("the middle after %g: got %#04x, want %#04x", x, got, even)
			}
		}
	}
}

func TestBF16(t *testing.T) {
	for _, tt := range []struct {
		x    float32
		want uint16
	}{{1, 0x3f80}, {-2, 0xc000}, {1 + 1.0/256, 0x3f80}, {1 + 3.0/256, 0x3f82}, {1 + 1.5/256, 0x3f81}, {0, 0}} {
		if got := bf16(tt.x); got != tt.want {
			t.Errorf("bf16(%g): got %#04x, want %#04x", tt.x, got, tt.want)
		}
	}
}

func TestNormal(t *testing.T) {
	s := newStream(7, "x")
	const n = 1 << 18
	var sum, sum2, sum4 float64
	for i := range uint64(n) {
		x := normal(s.word(i))
		sum += x
		sum2 += x * x
		sum4 += x * x * x * x
	}
	// Deviations of the estimates at n = 2^18 are 0.002, 0.003 and 0.02.
	if m := sum / n; math.Abs(m) > 0.01 {
		t.Errorf("mean: got %g, want 0", m)
	}
	if v := sum2 / n; math.Abs(v-1) > 0.015 {
		t.Errorf("variance: got %g, want 1", v)
	}
	if k := sum4 / n; math.Abs(k-2.7) > 0.1 { // 3 − 6/5/4: that of a sum of four uniform numbers
		t.Errorf("fourth moment: got %g, want 2.7", k)
	}
}
