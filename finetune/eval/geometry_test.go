package eval

import (
	"math"
	"testing"

	"github.com/ggtune/ggtune/finetune/vectors"
)

// TestGeometry: of vectors whose distances are known. Around a circle the mean of e^(-2d²) is e^(-4)·I₀(4), which a sum
// over its points nears.
func TestGeometry(t *testing.T) {
	if got := Distance2([]float32{1, 0}, []float32{0, -1}); got != 2 {
		t.Errorf("a right angle: got %g, want 2", got)
	}
	axes := vectors.Matrix{Width: 3, Data: []float32{1, 0, 0, 0, 1, 0, 0, 0, 1}}
	if got := Uniformity(axes); !near(got, -4, 1e-12) {
		t.Errorf("axes: got %g, want -4", got)
	}
	same := vectors.Matrix{Width: 2, Data: []float32{1, 0, 1, 0}}
	if got := Uniformity(same); got != 0 {
		t.Errorf("equal vectors: got %g, want 0", got)
	}
	const n, bessel = 3 * mostUniform, 11.301921952136330 // I₀(4), Abramowitz and Stegun, table 9.8
	circle := vectors.Matrix{Width: 2}
	for i := range n {
		y, x := math.Sincos(2 * math.Pi * float64(i) / n)
		circle.Data = append(circle.Data, float32(x), float32(y))
	}
	// What is taken of them are mostUniform points around the circle; the mean leaves each point itself out.
	want := math.Log((mostUniform*math.Exp(-4)*bessel - 1) / (mostUniform - 1))
	if got := Uniformity(circle); !near(got, want, 1e-5) {
		t.Errorf("a circle: got %g, want %g", got, want)
	}
}
