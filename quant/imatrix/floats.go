package imatrix

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/ggtune/ggtune/engine/gguf"
)

// floats copies a tensor of f32.
func floats(f *gguf.File, t *gguf.TensorInfo) ([]float32, error) {
	if t.Type != gguf.F32 {
		return nil, fmt.Errorf("%w: tensor %q is storage type %s, expected f32", ErrFormat, t.Name, t.Type)
	}
	b, err := f.Data(t)
	if err != nil {
		return nil, err
	}
	return decode(b), nil
}

func decode(b []byte) []float32 {
	out := make([]float32, len(b)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}
