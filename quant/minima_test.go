package quant

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/gguf"
)

// TestMinima: with another minimum every element of a block changes by as much, and nothing else changes.
func TestMinima(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const n = 4 * MinimumBlock
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	for _, typ := range []gguf.Type{gguf.Q4_1, gguf.Q5_1} {
		data, err := ggml.Quantize(ggml.Type(typ), x, n)
		if err != nil {
			t.Fatal(err)
		}
		was, err := ggml.Dequantize(ggml.Type(typ), data, n)
		if err != nil {
			t.Fatal(err)
		}
		old, err := Minima(typ, data)
		if err != nil || len(old) != 4 {
			t.Fatalf("%s: minima %v, %v", typ, old, err)
		}
		before := bytes.Clone(data)
		if err := SetMinima(typ, data, old); err != nil || !bytes.Equal(before, data) {
			t.Errorf("%s: its own minima change a block (%v)", typ, err)
		}
		changed := []float32{old[0], old[1] + 0.5, -1, 0}
		if err := SetMinima(typ, data, changed); err != nil {
			t.Fatal(err)
		}
		is, err := ggml.Dequantize(ggml.Type(typ), data, n)
		if err != nil {
			t.Fatal(err)
		}
		now, err := Minima(typ, data)
		if err != nil {
			t.Fatal(err)
		}
		for i := range is {
			b := i / MinimumBlock
			if moved := is[i] - was[i]; math.Abs(float64(moved-(now[b]-old[b]))) > 1e-6 {
				t.Errorf("%s: element %d moved by %g, its minimum from %g to %g", typ, i, moved, old[b], now[b])
			}
		}
		if now[2] != -1 || now[3] != 0 {
			t.Errorf("%s: minima %v, want %v", typ, now, changed)
		}
		for name, bad := range map[string]error{"too few": SetMinima(typ, data, changed[:3]),
			"no block": SetMinima(typ, data[:5], nil), "another type": SetMinima(gguf.Q4_K, data, changed)} {
			if bad == nil {
				t.Errorf("%s: %s is accepted", typ, name)
			}
		}
	}
}
