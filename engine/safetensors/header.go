package safetensors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
)

const keyMetadata = "__metadata__"

// A described tensor is one as the header has it.
type described struct {
	DType   *string `json:"dtype"`
	Shape   []int64 `json:"shape"`
	Offsets []int64 `json:"data_offsets"` // begin and end, from the end of the header
}

// parseHeader reads the JSON. The tensors' offsets are still those of the header.
func parseHeader(head []byte) (meta map[string]string, tensors []Tensor, err error) {
	d := json.NewDecoder(bytes.NewReader(head))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, nil, fmt.Errorf("%w: its header is no JSON object", ErrMalformed)
	}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, nil, fmt.Errorf("%w: header: %v", ErrMalformed, err)
		}
		name := token.(string) // the decoder gives no other kind of key
		if seen[name] {
			return nil, nil, fmt.Errorf("%w: its header names %q twice", ErrMalformed, name)
		}
		seen[name] = true
		if name == keyMetadata {
			if err := d.Decode(&meta); err != nil {
				return nil, nil, fmt.Errorf("%w: %s: %v; expected texts by name", ErrMalformed, keyMetadata, err)
			}
			continue
		}
		var one described
		if err := d.Decode(&one); err != nil {
			return nil, nil, fmt.Errorf("%w: tensor %q: %v", ErrMalformed, name, err)
		}
		t, err := one.tensor(name)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: tensor %q %w", ErrMalformed, name, err)
		}
		tensors = append(tensors, t)
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return nil, nil, fmt.Errorf("%w: header: %v", ErrMalformed, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, nil, fmt.Errorf("%w: more than one JSON object is in its header", ErrMalformed)
	}
	return meta, tensors, nil
}

func (d described) tensor(name string) (Tensor, error) {
	if d.DType == nil || d.Shape == nil || len(d.Offsets) != 2 {
		return Tensor{}, fmt.Errorf("lacks its dtype, shape or two data_offsets")
	}
	t := Tensor{Name: name, DType: DType(*d.DType), Shape: d.Shape, offset: d.Offsets[0]}
	size, err := t.DType.Size(t.Shape)
	if err != nil {
		return t, err
	}
	begin, end := d.Offsets[0], d.Offsets[1]
	if begin < 0 || end < begin || end-begin != size {
		return t, fmt.Errorf("has data_offsets %v, and %d bytes by its dtype %s and shape %v", d.Offsets, size,
			t.DType, t.Shape)
	}
	t.size = size
	return t, nil
}

// Size is the number of bytes of a tensor of that shape.
func (d DType) Size(shape []int64) (int64, error) {
	bits, ok := dtypes[d]
	if !ok {
		return 0, fmt.Errorf("has dtype %q, unknown; known: %s", string(d), names(func(DType) bool { return true }))
	}
	n := int64(bits)
	for _, dim := range shape {
		if dim < 0 {
			return 0, fmt.Errorf("has shape %v; no dimension is below 0", shape)
		}
		if dim > 0 && n > math.MaxInt64/dim {
			return 0, fmt.Errorf("has shape %v; its size overflows 64 bits", shape)
		}
		n *= dim
	}
	if n%8 != 0 {
		return 0, fmt.Errorf("has shape %v; its %d bits are no whole bytes", shape, n)
	}
	return n / 8, nil
}
