package quant

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/gguf"
)

// TestMultiply: in every type that keeps its scales in f16 each element is multiplied to within the rounding of f16:
// half a unit in the last of 11 bits of what it is made of, or of the smallest numbers of f16; and by 1, and by −1
// twice, nothing changes. A type that is not in the table, and could be, is a fault.
func TestMultiply(t *testing.T) {
	without := map[gguf.Type]bool{gguf.IQ1_M: true, gguf.MXFP4: true} // scales of other forms
	for _, typ := range gguf.Types() {
		if !typ.IsQuantized() || !ggml.Type(typ).Dequantizes() {
			continue
		}
		if !HasScales(typ) {
			if !without[typ] {
				t.Errorf("%s has no scales", typ)
			}
			continue
		}
		const n = 4 * 256
		data := anyBlocks(t, typ, n)
		numbers := func(data []byte) []float32 {
			x, err := ggml.Dequantize(ggml.Type(typ), data, n)
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
		was := numbers(data)
		for _, by := range []float32{1, -1, 0.9371, -3.3, 1e-3, 0} {
			now := bytes.Clone(data)
			if err := Multiply(typ, now, by); err != nil {
				t.Fatal(err)
			}
			bound, worst := roundings(t, typ, data, by, numbers), 0.0
			for i, x := range numbers(now) {
				want := float64(by) * float64(was[i])
				d, f32 := math.Abs(float64(x)-want), 1e-6*math.Abs(want) // of sums of two parts
				if d > bound[i]+f32 {
					t.Fatalf("%s by %g: element %d is %g, want %g within %.3g", typ, by, i, x, want, bound[i])
				}
				if (by == 1 || by == -1) && d != 0 {
					t.Fatalf("%s by %g: element %d is %g, want %g", typ, by, i, x, want)
				}
				if want != 0 {
					worst = max(worst, d/math.Abs(want))
				}
			}
			t.Logf("%s by %g: each element within %.2g of its size", typ, by, worst)
		}
		if err := Multiply(typ, bytes.Clone(data), 1e15); err == nil || !strings.Contains(err.Error(), "f16") {
			t.Errorf("%s by 1e15: got error %v", typ, err)
		}
		if err := Multiply(typ, data[1:], 2); err == nil || !strings.Contains(err.Error(), "no whole blocks") {
			t.Errorf("%s: a part of a block: got error %v", typ, err)
		}
	}
	if err := Multiply(gguf.MXFP4, make([]byte, 17), 2); err == nil ||
		!strings.Contains(err.Error(), "keeps no scale") {
		t.Errorf("mxfp4: got error %v", err)
	}
}

// anyBlocks are blocks of n elements with any integers, and scales about 0.01.
func anyBlocks(t *testing.T, typ gguf.Type, n int) []byte {
	r := rand.New(rand.NewPCG(5, uint64(typ)))
	data := make([]byte, n/typ.BlockSize()*typ.BlockBytes())
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	for at := 0; at < len(data); at += typ.BlockBytes() {
		for _, p := range scalesAt[typ] {
			half, err := ggml.Quantize(ggml.F16, []float32{float32(r.NormFloat64() / 100)}, 1)
			if err != nil {
				t.Fatal(err)
			}
			copy(data[at+p:], half)
		}
	}
	return data
}

// roundings says how far each element may be: of every number in f16 that it is a multiple of, half a unit of f16.
func roundings(t *testing.T, typ gguf.Type, data []byte, by float32, numbers func([]byte) []float32) []float64 {
	out := make([]float64, 4*256)
	size := typ.BlockBytes()
	for _, p := range scalesAt[typ] {
		part := bytes.Clone(data)
		var halves []byte
		for at := 0; at < len(part); at += size {
			for _, other := range scalesAt[typ] {
				if other != p {
					clear(part[at+other : at+other+2])
				}
			}
			halves = append(halves, part[at+p:at+p+2]...)
		}
		scales, err := ggml.Dequantize(ggml.F16, halves, int64(len(halves)/2))
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range numbers(part) {
			if h := math.Abs(float64(scales[i*len(scales)/len(out)])); h > 0 {
				out[i] += math.Abs(float64(x)) / h * max(math.Abs(float64(by))*h/(1<<11), 1./(1<<25))
			}
		}
	}
	return out
}
