package merge

import (
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/quant"
)

// openFrom opens the file that the base was quantized from: its weights take the place of the base's wherever tensors
// are written anew, so that nothing is rounded twice.
func (m *merging) openFrom() (err error) {
	if m.from, err = gguf.Open(m.From); err != nil {
		return err
	}
	m.fromIndex, err = quant.Original(m.model.File(), m.from)
	return err
}

// original are the rows of the file that the base was quantized from, in the base's order: quant.Rows.
type original struct {
	quant.Rows
	index []int
}

// Read gives rows of tensor i of the base.
func (r original) Read(i int, at int64, dst []float32) error { return r.Rows.Read(r.index[i], at, dst) }
