package merge

import (
	"fmt"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/quant"
)

// intoScales says whether all that happens to a tensor is that rows are multiplied, which goes into the scales of its
// blocks: then nothing is lost but the rounding of these to f16.
func (r *merged) intoScales(t *gguf.TensorInfo) bool {
	return !r.other && quant.HasScales(t.Type) && r.sum.Factors(t.Name) != nil
}

// multiply multiplies rows of stored blocks, from row first on.
func (r *merged) multiply(t *gguf.TensorInfo, first int64, data []byte) error {
	size, err := t.Type.Size([]int64{t.Shape[0], 1})
	if err != nil {
		return err
	}
	factors := r.sum.Factors(t.Name)
	for o := first; len(data) > 0; o++ {
		if err := quant.Multiply(t.Type, data[:size], factors[o]); err != nil {
			return fmt.Errorf("tensor %q, row %d, times %g: %w; merge into another type (--type)", t.Name, o,
				factors[o], err)
		}
		data = data[size:]
	}
	return nil
}
