package quant

import (
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/quant/mix"
)

// A Change is what happens to one tensor.
type Change struct {
	Tensor   gguf.TensorInfo // as it is
	To       gguf.Type
	ToBytes  int64
	Fallback bool // the type that was chosen does not fit the tensor's rows
}

// A Plan says in what type each tensor of a model is written.
type Plan struct {
	// FileType is written as general.file_type; nil leaves the file's own.
	FileType *uint32
	Changes  []Change // one for each tensor of the file, in its order

	file *gguf.File
}

// Bytes is the size of the tensors before and after.
func (p *Plan) Bytes() (before, after int64) {
	for _, c := range p.Changes {
		before += c.Tensor.Size
		after += c.ToBytes
	}
	return before, after
}

// Changed counts the tensors that get another type.
func (p *Plan) Changed() (n int) {
	for _, c := range p.Changes {
		if c.To != c.Tensor.Type {
			n++
		}
	}
	return n
}

// Set chooses a type for tensor i, or the one that takes its place where its blocks do not fill the tensor's rows.
func (p *Plan) Set(i int, to gguf.Type) error {
	c := &p.Changes[i]
	fit := to
	if len(c.Tensor.Shape) > 0 {
		fit = mix.Fit(to, c.Tensor.Shape[0])
	}
	size, err := fit.Size(c.Tensor.Shape)
	if err != nil {
		return fmt.Errorf("%s: tensor %q as %s %w", p.file.Path(), c.Tensor.Name, fit, err)
	}
	c.To, c.ToBytes, c.Fallback = fit, size, fit != to
	return nil
}

// Keep is the plan that changes no type: for weights that are not the file's own (Rows).
func Keep(f *gguf.File) (Plan, error) {
	p := Plan{file: f}
	if err := f.CheckModel(); err != nil {
		return p, err
	}
	for _, t := range f.Tensors {
		p.Changes = append(p.Changes, Change{Tensor: t, To: t.Type, ToBytes: t.Size})
	}
	return p, nil
}

// ErrRequantize is matched by the refusal of weights that are quantized already.
var ErrRequantize = errors.New("quantized already")

// A Choice is what a user wants of a plan.
type Choice struct {
	Mix mix.Mix
	// Requantize allows sources that are quantized already: what was rounded away does not come back, and rounding
	// twice loses more than once.
	Requantize bool
}

// NewPlan decides the type of every tensor of a model. A quantized tensor that would have to change its type is refused
// (ErrRequantize), unless the choice allows it.
func NewPlan(f *gguf.File, c Choice) (Plan, error) {
	p, err := Keep(f)
	if err != nil {
		return p, err
	}
	p.FileType = &c.Mix.FileType
	places := mix.Places(f.Tensors)
	for i := range p.Changes {
		t := &p.Changes[i].Tensor
		if !t.Type.IsQuantized() && !t.Type.IsFloat() || t.Type == gguf.F64 {
			continue
		}
		to := gguf.F32
		if len(t.Shape) > 1 {
			to = c.Mix.Of(places[i])
		}
		if err := p.Set(i, to); err != nil {
			return p, err
		}
		if t.Type.IsQuantized() && p.Changes[i].To != t.Type && !c.Requantize {
			return p, fmt.Errorf("%s: tensor %q is storage type %s, %w; start from an f32, f16 or bf16 file of the "+
				"model", f.Path(), t.Name, t.Type, ErrRequantize)
		}
	}
	return p, nil
}
