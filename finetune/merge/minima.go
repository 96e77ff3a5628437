package merge

import (
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/quant"
)

// intoMinima says whether what adapters add to a tensor goes into the minima of its blocks, which keep their scales and
// integers: then nothing is lost but the rounding of the minima to f16.
func (r *merged) intoMinima(t *gguf.TensorInfo) bool {
	return !r.other && quant.HasMinima(t.Type) && r.sum.Changes(t.Name) && r.sum.Blocks(t.Name, quant.MinimumBlock)
}

// Stores says that tensor i changes by its minima or its scales: quant.Stored.
func (r *merged) Stores(i int) bool {
	t := &r.file.Tensors[i]
	return r.intoMinima(t) || r.intoScales(t)
}

// ReadStored gives rows of the base's blocks, with the minima or scales of the merged model.
func (r *merged) ReadStored(i int, at int64, dst []byte) error {
	t := &r.file.Tensors[i]
	data, err := r.file.Data(t)
	if err != nil {
		return err
	}
	begin, err := t.Type.Size([]int64{t.Shape[0], at / t.Shape[0]})
	if at == 0 {
		begin, err = 0, nil
	}
	if err != nil {
		return err
	}
	copy(dst, data[begin:])
	if r.intoScales(t) {
		return r.multiply(t, at/t.Shape[0], dst)
	}
	minima, err := quant.Minima(t.Type, dst)
	if err != nil {
		return err
	}
	// Each element as if it were its block's minimum: the sum is made as that of any weight.
	x := make([]float32, len(minima)*quant.MinimumBlock)
	for k := range x {
		x[k] = minima[k/quant.MinimumBlock]
	}
	r.sum.AddTo(t.Name, at/t.Shape[0], x, t.Shape[0])
	for b := range minima {
		minima[b] = x[b*quant.MinimumBlock]
	}
	return quant.SetMinima(t.Type, dst, minima)
}
