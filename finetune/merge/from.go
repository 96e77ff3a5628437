package merge

import (
	"fmt"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/quant"
)

// openFrom opens the file that the base was quantized from: its weights take the place of the base's wherever tensors
// are written anew, so that nothing is rounded twice.
func (m *merging) openFrom() (err error) {
	if m.from, err = gguf.Open(m.From); err != nil {
		return err
	}
	if m.fromIndex, err = quant.Original(m.model.File(), m.from); err != nil {
		return err
	}
	for _, i := range m.fromIndex {
		if t := &m.from.Tensors[i]; t.Type.IsQuantized() {
			return fmt.Errorf("--from %s: tensor %q is storage type %s, %w: merging from it would round twice; give "+
				"the f32, f16 or bf16 file that the base was quantized from, or merge into this one (-m %[1]s)",
				m.From, t.Name, t.Type, quant.ErrRequantize)
		}
	}
	return nil
}

// original are the rows of the file that the base was quantized from, in the base's order: quant.Rows.
type original struct {
	quant.Rows
	index []int
}

// Read gives rows of tensor i of the base.
func (r original) Read(i int, at int64, dst []float32) error { return r.Rows.Read(r.index[i], at, dst) }
