package quant

import (
	"fmt"
	"math"
	"slices"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/gguf"
)

// Original finds the tensors of base, in their order, in the file that it was quantized from, or in one that lost less.
// A file of another model is refused.
func Original(base, from *gguf.File) (index []int, err error) {
	if err := from.CheckModel(); err != nil {
		return nil, err
	}
	theirs, err := from.Architecture()
	if err != nil {
		return nil, err
	}
	ours, err := base.Architecture()
	if err != nil {
		return nil, err
	}
	if theirs != ours {
		return nil, fmt.Errorf("--from %s: architecture %q, and the base is %q; give the file that the base was "+
			"quantized from", from.Path(), theirs, ours)
	}
	at := map[string]int{}
	for i, t := range from.Tensors {
		at[t.Name] = i
	}
	index = make([]int, len(base.Tensors))
	for i, t := range base.Tensors {
		j, ok := at[t.Name]
		if !ok || !slices.Equal(from.Tensors[j].Shape, t.Shape) {
			return nil, fmt.Errorf("--from %s: it has no tensor %q of shape %v, as the base has; give the file that "+
				"the base was quantized from", from.Path(), t.Name, t.Shape)
		}
		index[i] = j
	}
	for i := range index {
		if err := akin(base, from, i, index[i]); err != nil {
			return nil, err
		}
	}
	return index, nil
}

// unlike is how far, relative to their size, weights may be from those that they were quantized to: 0.3 in q2_K.
// Weights of another model with the same shape are as far as independent ones: 1.4.
const unlike = 0.7

// akin refuses a file whose first row of tensor j is none that the base's of tensor i was rounded from.
func akin(base, from *gguf.File, i, j int) error {
	t := &base.Tensors[i]
	if len(t.Shape) < 2 || !ggml.Type(t.Type).Dequantizes() {
		return nil
	}
	rounded, orig := make([]float32, t.Shape[0]), make([]float32, t.Shape[0])
	if err := FileRows(base).Read(i, 0, rounded); err != nil {
		return err
	}
	if err := FileRows(from).Read(j, 0, orig); err != nil {
		return err
	}
	var apart, size float64
	for k, v := range orig {
		apart += (float64(v) - float64(rounded[k])) * (float64(v) - float64(rounded[k]))
		size += float64(v) * float64(v)
	}
	if far := math.Sqrt(apart / size); far > unlike {
		return fmt.Errorf("--from %s: tensor %q differs from the base's by %.0f %% of its size; it is another "+
			"model's: give the file that the base was quantized from", from.Path(), t.Name, 100*far)
	}
	return nil
}
