package hub

import (
	"fmt"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
)

// A draft is a file that is still to be written, as an architecture reads it.
type draft struct {
	path   string
	tied   bool
	vocab  int64
	values map[string]any // metadata: string, bool, uint32, int32 or float32
}

func (d *draft) SetString(key, s string)          { d.values[key] = s }
func (d *draft) SetUint32(key string, x uint32)   { d.values[key] = x }
func (d *draft) SetInt32(key string, x int32)     { d.values[key] = x }
func (d *draft) SetFloat32(key string, x float32) { d.values[key] = x }
func (d *draft) SetBool(key string, x bool)       { d.values[key] = x }

func (d *draft) Path() string { return d.path }

func (d *draft) Architecture() (string, error) { return d.values["general.architecture"].(string), nil }

// get reads a value of one type.
func get[T any](d *draft, key string) (x T, err error) {
	v, ok := d.values[key]
	if !ok {
		return x, fmt.Errorf("%s: %q: %w", d.path, key, gguf.ErrNoKey)
	}
	if x, ok = v.(T); !ok {
		return x, fmt.Errorf("%s: metadata key %q is %v, asked for as %T", d.path, key, v, x)
	}
	return x, nil
}

func (d *draft) Int(key string) (int64, error) {
	x, err := get[uint32](d, key)
	return int64(x), err
}

func (d *draft) Float32(key string) (float32, error) { return get[float32](d, key) }

func (d *draft) Bool(key string) (bool, error) { return get[bool](d, key) }

func (d *draft) Ints(key string) ([]int64, error) { return get[[]int64](d, key) }

func (d *draft) Bools(key string) ([]bool, error) { return get[[]bool](d, key) }

func (d *draft) StringOr(key, missing string) (string, error) {
	if _, ok := d.values[key]; !ok {
		return missing, nil
	}
	return get[string](d, key)
}

// keyTypes says how many types of token there are vectors of.
const keyTypes = "tokenizer.ggml.token_type_count"

// HasTensor knows those on which the rest of a net depends.
func (d *draft) HasTensor(name string) bool {
	switch name {
	case arch.TensorName(arch.Output, ".weight", -1):
		return !d.tied
	case arch.TensorName(arch.TokenTypes, ".weight", -1):
		types, err := d.Int(keyTypes)
		return err == nil && types > 0
	}
	return false
}

// Tensor knows the embedding, whose rows are the vocabulary.
func (d *draft) Tensor(name string) (*gguf.TensorInfo, error) {
	embd, err := d.Int(d.values["general.architecture"].(string) + ".embedding_length")
	if err != nil {
		return nil, err
	}
	if name != arch.TensorName(arch.TokenEmbd, ".weight", -1) {
		return nil, fmt.Errorf("%s: tensor %q: %w", d.path, name, gguf.ErrNoTensor)
	}
	return &gguf.TensorInfo{Name: name, Shape: []int64{embd, d.vocab}}, nil
}
