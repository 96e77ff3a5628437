package merge

import (
	"fmt"
	"math"
	"slices"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/quant"
)

// openFrom opens the file that the base was quantized from: its weights take the place of the base's wherever tensors
// are written anew, so that nothing is rounded twice.
func (m *merging) openFrom() error {
	var err error
	if m.from, err = gguf.Open(m.From); err != nil {
		return err
	}
	base := m.model.File()
	if err := m.from.CheckModel(); err != nil {
		return err
	}
	theirs, err := m.from.Architecture()
	if err != nil {
		return err
	}
	if ours := m.model.Net().Arch; theirs != ours {
		return fmt.Errorf("--from %s: architecture %q, and the base is %q; give the file that the base was "+
			"quantized from", m.From, theirs, ours)
	}
	at := map[string]int{}
	for i, t := range m.from.Tensors {
		at[t.Name] = i
	}
	m.fromIndex = make([]int, len(base.Tensors))
	for i, t := range base.Tensors {
		j, ok := at[t.Name]
		if !ok || !slices.Equal(m.from.Tensors[j].Shape, t.Shape) {
			return fmt.Errorf("--from %s: it has no tensor %q of shape %v, as the base has; give the file that the "+
				"base was quantized from", m.From, t.Name, t.Shape)
		}
		m.fromIndex[i] = j
	}
	for i := range base.Tensors {
		if err := m.akin(i); err != nil {
			return err
		}
	}
	return nil
}

// unlike is how far, relative to their size, weights may be from those that they were quantized to: 0.3 in q2_K.
// Weights of another model with the same shape are as far as independent ones: 1.4.
const unlike = 0.7

// akin refuses a file whose first row of a tensor is none that the base's was rounded from.
func (m *merging) akin(i int) error {
	t := &m.model.File().Tensors[i]
	if len(t.Shape) < 2 || !ggml.Type(t.Type).Dequantizes() {
		return nil
	}
	base, orig := make([]float32, t.Shape[0]), make([]float32, t.Shape[0])
	if err := quant.FileRows(m.model.File()).Read(i, 0, base); err != nil {
		return err
	}
	if err := quant.FileRows(m.from).Read(m.fromIndex[i], 0, orig); err != nil {
		return err
	}
	var apart, size float64
	for k, v := range orig {
		apart += (float64(v) - float64(base[k])) * (float64(v) - float64(base[k]))
		size += float64(v) * float64(v)
	}
	if far := math.Sqrt(apart / size); far > unlike {
		return fmt.Errorf("--from %s: tensor %q differs from the base's by %.0f %% of its size; it is another "+
			"model's: give the file that the base was quantized from", m.From, t.Name, 100*far)
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
