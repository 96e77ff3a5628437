// Package quant changes the storage types of a model's tensors to those of a mix. It does not know what the change
// costs in loss, which is measured elsewhere.
package quant

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/quant/mix"
)

// A Change is what happens to one tensor.
type Change struct {
	Tensor   gguf.TensorInfo // as it is
	To       gguf.Type
	ToBytes  int64
	Fallback bool // the mix's own type does not fit the tensor's rows
}

// A Plan is what Write will do.
type Plan struct {
	Mix     mix.Mix
	Changes []Change
}

// Bytes is the size of the tensors before and after.
func (p Plan) Bytes() (before, after int64) {
	for _, c := range p.Changes {
		before += c.Tensor.Size
		after += c.ToBytes
	}
	return before, after
}

// NewPlan decides the type of every tensor of a model. Weights that are quantized already are refused: what was
// rounded away does not come back, and rounding twice loses more than once.
func NewPlan(f *gguf.File, m mix.Mix) (Plan, error) {
	p := Plan{Mix: m}
	if err := f.CheckModel(); err != nil {
		return p, err
	}
	places := mix.Places(f.Tensors)
	for i, t := range f.Tensors {
		if t.Type.IsQuantized() {
			return p, fmt.Errorf("%s: tensor %q is storage type %s, quantized already; start from an f32, f16 or bf16 "+
				"file of the model", f.Path(), t.Name, t.Type)
		}
		c := Change{Tensor: t, To: t.Type}
		if t.Type.IsFloat() && t.Type != gguf.F64 {
			c.To = gguf.F32
			if len(t.Shape) > 1 {
				want := m.Of(places[i])
				c.To = mix.Fit(want, t.Shape[0])
				c.Fallback = c.To != want
			}
		}
		var err error
		if c.ToBytes, err = c.To.Size(t.Shape); err != nil {
			return p, fmt.Errorf("%s: tensor %q as %s %w", f.Path(), t.Name, c.To, err)
		}
		p.Changes = append(p.Changes, c)
	}
	return p, nil
}

// Write carries the plan out and writes the model under path, atomically. It refuses to write over its own source. A
// nil fsys means the real file system.
func Write(ctx context.Context, fsys atomicfile.FS, f *gguf.File, p Plan, path string) error {
	if err := checkTarget(f, path); err != nil {
		return err
	}
	var w gguf.Writer
	w.CopyMetadata(f)
	w.SetUint32("general.file_type", p.Mix.FileType)
	w.SetUint32("general.quantization_version", quantizationVersion)
	for i := range p.Changes {
		c := &p.Changes[i]
		var err error
		if c.To == c.Tensor.Type {
			err = w.AddFrom(f, &c.Tensor)
		} else {
			err = w.Add(c.Tensor.Name, c.To, c.Tensor.Shape, converted(f, c))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return w.WriteFile(ctx, fsys, path)
}

// quantizationVersion is ggml's GGML_QNT_VERSION: the layout of its quantized blocks.
const quantizationVersion = 2

// checkTarget refuses a path that is one of the source's own files, under whatever name.
func checkTarget(f *gguf.File, path string) error {
	there, err := os.Stat(path)
	if err != nil {
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			return fmt.Errorf("write %s: the directory does not exist: %w", path, err)
		}
		return nil
	}
	for _, part := range f.Parts() {
		if here, err := os.Stat(part); err == nil && os.SameFile(here, there) {
			return fmt.Errorf("write %s: it is the model that is being read; give another name", path)
		}
	}
	return nil
}

// chunkElements bounds the memory of a conversion: 4 MB of f32.
const chunkElements = 1 << 20

// converted reads a tensor a few rows at a time and writes them in the new type.
func converted(f *gguf.File, c *Change) gguf.TensorSource {
	return func(dst io.Writer) error {
		return eachChunk(f, &c.Tensor, func(at int64, x []float32) error {
			if i := beyondF16(c.To, x); i >= 0 {
				return fmt.Errorf("%s: tensor %q: element %d is %v, beyond f16's %v; use bf16 or q8_0",
					f.Path(), c.Tensor.Name, at+int64(i), x[i], maxF16)
			}
			out, err := ggml.Quantize(ggml.Type(c.To), x, c.Tensor.Shape[0])
			if err != nil {
				return err
			}
			_, err = dst.Write(out)
			return err
		})
	}
}

// Largest finds the largest magnitude among a file's weights and the tensor that holds it, and refuses the first weight
// that is no finite number. It reads the file, which takes seconds for a large model. On cancel it returns
// context.Cause(ctx).
func Largest(ctx context.Context, f *gguf.File) (tensor string, largest float32, err error) {
	for i := range f.Tensors {
		t := &f.Tensors[i]
		if !ggml.Type(t.Type).Dequantizes() {
			continue
		}
		err := eachChunk(f, t, func(_ int64, x []float32) error {
			for _, v := range x {
				if max(v, -v) > largest {
					tensor, largest = t.Name, max(v, -v)
				}
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return nil
		})
		if err != nil {
			return "", 0, err
		}
	}
	return tensor, largest, nil
}

// eachChunk reads a tensor a few rows at a time as f32; at is the index of a chunk's first element. What is no finite
// number is refused.
func eachChunk(f *gguf.File, t *gguf.TensorInfo, use func(at int64, x []float32) error) error {
	data, err := f.Data(t)
	if err != nil {
		return err
	}
	row := int64(1) // a scalar's
	if len(t.Shape) > 0 {
		row = t.Shape[0]
	}
	rowBytes := int64(len(data)) / (t.Elements() / row)
	step := max(1, chunkElements/row)
	x := make([]float32, min(step, t.Elements()/row)*row)
	for at := int64(0); at < int64(len(data)); at += step * rowBytes {
		part := data[at:min(at+step*rowBytes, int64(len(data)))]
		n := int64(len(part)) / rowBytes * row
		if err := ggml.DequantizeTo(ggml.Type(t.Type), x[:n], part); err != nil {
			return err
		}
		first := at / rowBytes * row
		if i := notFinite(x[:n]); i >= 0 {
			return fmt.Errorf("%s: tensor %q: element %d is %v; the file is damaged or the model diverged: %w",
				f.Path(), t.Name, first+int64(i), x[i], errNotFinite)
		}
		if err := use(first, x[:n]); err != nil {
			return err
		}
	}
	return nil
}

var errNotFinite = errors.New("not a finite number")

// notFinite is the index of the first NaN or infinity, or -1.
func notFinite(x []float32) int {
	for i, v := range x {
		if v-v != 0 {
			return i
		}
	}
	return -1
}

const maxF16 = 65504

// beyondF16 is the index of the first number that f16 cannot hold, or -1; other types are not asked about.
func beyondF16(to gguf.Type, x []float32) int {
	if to == gguf.F16 {
		for i, v := range x {
			if v > maxF16 || v < -maxF16 {
				return i
			}
		}
	}
	return -1
}
