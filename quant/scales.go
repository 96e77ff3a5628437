package quant

import (
	"fmt"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/gguf"
)

// scalesAt is where blocks keep numbers in f16 that every element is proportional to, together (ggml-common.h): a
// scale, and in types that have them a minimum or the scale of minima. Types that are missing keep none in f16.
var scalesAt = map[gguf.Type][]int{
	gguf.Q4_0: {0}, gguf.Q4_1: {0, 2}, gguf.Q5_0: {0}, gguf.Q5_1: {0, 2}, gguf.Q8_0: {0},
	gguf.Q2_K: {80, 82}, gguf.Q3_K: {108}, gguf.Q4_K: {0, 2}, gguf.Q5_K: {0, 2}, gguf.Q6_K: {208},
	gguf.IQ2_XXS: {0}, gguf.IQ2_XS: {0}, gguf.IQ2_S: {0}, gguf.IQ3_XXS: {0}, gguf.IQ3_S: {0}, gguf.IQ1_S: {0},
	gguf.IQ4_NL: {0}, gguf.IQ4_XS: {0}, gguf.TQ1_0: {52}, gguf.TQ2_0: {64},
}

// HasScales says whether a quantized type's elements can be multiplied by way of numbers in f16 that each block keeps.
func HasScales(t gguf.Type) bool { return scalesAt[t] != nil }

// Multiply multiplies every element of data, whole blocks of such a type, by a factor, and leaves its integers: nothing
// is lost but the rounding of the scales to f16.
func Multiply(t gguf.Type, data []byte, by float32) error {
	places, size := scalesAt[t], t.BlockBytes()
	if places == nil {
		return fmt.Errorf("storage type %s keeps no scale in f16 for each block", t)
	}
	if len(data) == 0 || len(data)%size != 0 {
		return fmt.Errorf("%d bytes are no whole blocks of %s", len(data), t)
	}
	halves := make([]byte, 0, 2*len(places)*len(data)/size)
	for at := 0; at < len(data); at += size {
		for _, p := range places {
			halves = append(halves, data[at+p:at+p+2]...)
		}
	}
	n := int64(len(halves) / 2)
	x, err := ggml.Dequantize(ggml.F16, halves, n)
	if err != nil {
		return err
	}
	for i := range x {
		x[i] *= by
	}
	if halves, err = ggml.Quantize(ggml.F16, x, n); err != nil {
		return err
	}
	back, err := ggml.Dequantize(ggml.F16, halves, n)
	if err != nil {
		return err
	}
	for i, v := range back {
		if v-v != 0 {
			return fmt.Errorf("a scale becomes %g, which f16 cannot hold", x[i])
		}
	}
	for at := 0; at < len(data); at += size {
		for _, p := range places {
			copy(data[at+p:], halves[:2])
			halves = halves[2:]
		}
	}
	return nil
}
