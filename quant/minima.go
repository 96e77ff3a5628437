package quant

import (
	"fmt"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/gguf"
)

// MinimumBlock is how many elements share a minimum in types that HasMinima.
const MinimumBlock = 32

// HasMinima says whether a type keeps for each block of 32 a minimum in f16, which is added to every element of it:
// q4_1 and q5_1, whose blocks are a scale, a minimum, and integers. K types keep minima too, but of 4 or 6 bits that
// share a scale.
func HasMinima(t gguf.Type) bool { return t == gguf.Q4_1 || t == gguf.Q5_1 }

// minimumAt is where a block's minimum lies, behind its scale.
const minimumAt = 2

// Minima gives the minimum of each block of data, whole blocks of such a type.
func Minima(t gguf.Type, data []byte) ([]float32, error) {
	size, err := minimaSize(t, data)
	if err != nil {
		return nil, err
	}
	halves := make([]byte, 0, 2*len(data)/size)
	for at := 0; at < len(data); at += size {
		halves = append(halves, data[at+minimumAt:at+minimumAt+2]...)
	}
	return ggml.Dequantize(ggml.F16, halves, int64(len(data)/size))
}

// SetMinima gives each block of data another minimum, rounded to f16, and leaves its scale and integers: every element
// changes by as much as the minimum.
func SetMinima(t gguf.Type, data []byte, minima []float32) error {
	size, err := minimaSize(t, data)
	if err != nil {
		return err
	}
	if len(minima) != len(data)/size {
		return fmt.Errorf("%d minima for %d blocks of %s", len(minima), len(data)/size, t)
	}
	halves, err := ggml.Quantize(ggml.F16, minima, int64(len(minima)))
	if err != nil {
		return err
	}
	for i := range minima {
		copy(data[i*size+minimumAt:], halves[2*i:2*i+2])
	}
	return nil
}

// minimaSize is the bytes of a block.
func minimaSize(t gguf.Type, data []byte) (int, error) {
	if !HasMinima(t) {
		return 0, fmt.Errorf("storage type %s keeps no minimum for each block", t)
	}
	if size := t.BlockBytes(); len(data) > 0 && len(data)%size == 0 {
		return size, nil
	}
	return 0, fmt.Errorf("%d bytes are no whole blocks of %s", len(data), t)
}
