package hub

import (
	"fmt"
	"io"
	"slices"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/safetensors"
)

// An outgoing weight is a tensor of the file and what it is in the folder.
type outgoing struct {
	index int // of the file's tensors
	from  *gguf.TensorInfo
	name  string
	part  arch.Part
	to    gguf.Type
}

// place finds for each tensor its module, in the file's order, and wants each that transformers has.
func (m *Model) place(t string) error {
	hub := m.net.Hub()
	parts := map[string]outgoing{} // by name in the file
	var needed []string
	eachPart(m.net, func(p arch.Part, gguf, folder string) {
		parts[gguf] = outgoing{name: folder, part: p}
		if !p.Optional {
			needed = append(needed, gguf)
		}
	})
	var unknown []string
	for i := range m.file.Tensors {
		from := &m.file.Tensors[i]
		one, ok := parts[from.Name]
		if from.Name == ropeFactors {
			continue // a setting there
		}
		if !ok {
			unknown = append(unknown, fmt.Sprintf("%q", from.Name))
			continue
		}
		if !slices.Equal(from.Shape, one.part.Shape) {
			return fmt.Errorf("%s: tensor %q has shape %v, and the metadata makes it %v", m.file.Path(), from.Name,
				from.Shape, one.part.Shape)
		}
		one.index, one.from = i, from
		var err error
		if one.to, err = one.outgoingType(t); err != nil {
			return err
		}
		if from.Type.IsQuantized() {
			m.Dequantized++
		}
		m.weights = append(m.weights, one)
	}
	missing := slices.DeleteFunc(needed, m.file.HasTensor)
	switch {
	case len(unknown) > 0:
		return fmt.Errorf("%s: %d tensors have no place in a %s: %s", m.file.Path(), len(unknown), hub.Class,
			some(unknown))
	case len(missing) > 0:
		return fmt.Errorf("%s: %d tensors of a %s are missing: %s", m.file.Path(), len(missing), hub.Class,
			some(missing))
	}
	return nil
}

// outgoingType is the type that a weight gets where t is asked for. Norms, biases and learned positions keep theirs, as
// they do on the way back.
func (o *outgoing) outgoingType(t string) (gguf.Type, error) {
	_, kept := fileTypes[o.from.Type]
	switch matrix := len(o.part.Shape) > 1 && o.part.Role != arch.PositionEmbd; {
	case kept && (t == "" || !matrix):
		return o.from.Type, nil
	case t == "" && o.from.Type.IsQuantized():
		return gguf.F16, nil
	case t == "" || !matrix:
		return gguf.F32, nil
	}
	to, err := gguf.ParseType(t)
	if _, ok := fileTypes[to]; err == nil && !ok {
		err = fmt.Errorf("storage type %s cannot be written into a folder; expected f32, f16 or bf16", to)
	}
	return to, err
}

// elementTypes are safetensors' names.
var elementTypes = map[gguf.Type]safetensors.DType{gguf.F32: safetensors.F32, gguf.F16: safetensors.F16,
	gguf.BF16: safetensors.BF16}

// writers gathers the weights, in files of at most partBytes.
func (m *Model) writers(partBytes int64) ([]*safetensors.Writer, error) {
	var parts []*safetensors.Writer
	size := int64(0)
	for i := range m.weights {
		o := &m.weights[i]
		shape := slices.Clone(o.part.Shape)
		if !across(m.net.Hub(), o.part) {
			slices.Reverse(shape)
		}
		n, err := elementTypes[o.to].Size(shape)
		if err != nil {
			return nil, fmt.Errorf("%s: tensor %q %w", m.file.Path(), o.from.Name, err)
		}
		if len(parts) == 0 || size+n > partBytes && size > 0 {
			parts = append(parts, &safetensors.Writer{Metadata: map[string]string{"format": "pt"}})
			size = 0
		}
		size += n
		err = parts[len(parts)-1].Add(o.name, elementTypes[o.to], shape, func(dst io.Writer) error {
			return m.write(dst, o)
		})
		if err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// write writes one tensor, some rows at a time.
func (m *Model) write(dst io.Writer, o *outgoing) error {
	row, rows := o.part.Shape[0], int64(1)
	if len(o.part.Shape) > 1 {
		rows = o.part.Shape[1]
	}
	heads := int64(o.part.PairedHeads)
	if heads > 0 && len(o.part.Shape) == 1 { // of a bias each number is a row
		row, rows = 1, row
	}
	step := max(1, chunkElements/row)
	switch {
	case heads > 0:
		step = rows / heads // head by head
	case across(m.net.Hub(), o.part):
		step = rows
	}
	for at := int64(0); at < rows; at += step {
		x := make([]float32, min(step, rows-at)*row)
		if err := m.rows.Read(o.index, at*row, x); err != nil {
			return err
		}
		switch {
		case heads > 0:
			x = arch.Unpaired(x, 1, row)
		case across(m.net.Hub(), o.part):
			x = transposed(x, row, rows)
		}
		b, err := encode(m.file.Path(), o.from.Name, o.to, x, at*row)
		if err != nil {
			return err
		}
		if o.from.Type.IsQuantized() {
			if err := m.round(o.to, x, b); err != nil {
				return err
			}
		}
		if _, err := dst.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// round adds up what rounding to a type took.
func (m *Model) round(t gguf.Type, x []float32, b []byte) error {
	back := make([]float32, len(x))
	if err := ggml.DequantizeTo(ggml.Type(t), back, b); err != nil {
		return err
	}
	for i, v := range x {
		d := float64(v) - float64(back[i])
		m.Rounded.Error += d * d
		m.Rounded.Signal += float64(v) * float64(v)
	}
	return nil
}

// floats reads a whole small tensor.
func (m *Model) floats(name string) ([]float32, error) {
	t, err := m.file.Tensor(name)
	if err != nil {
		return nil, err
	}
	if n := t.Elements(); n < 1 || n > maxFactors {
		return nil, fmt.Errorf("%s: tensor %q has %d elements; expected 1 to %d", m.file.Path(), name, n, maxFactors)
	}
	x := make([]float32, t.Elements())
	i := slices.IndexFunc(m.file.Tensors, func(one gguf.TensorInfo) bool { return one.Name == name })
	return x, m.rows.Read(i, 0, x)
}

// maxFactors is far more than half of any head's size.
const maxFactors = 1 << 16
