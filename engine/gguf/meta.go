package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// KVs lists the metadata in file order. Not to be changed. Of a split model, it is the first part's.
func (f *File) KVs() []KV { return f.kvs }

// Has says whether a metadata key exists.
func (f *File) Has(key string) bool { _, ok := f.byKey[key]; return ok }

// Value finds a metadata value. The error matches ErrNoKey.
func (f *File) Value(key string) (Value, error) {
	i, ok := f.byKey[key]
	if !ok {
		return Value{}, fmt.Errorf("%s: %q: %w", f.Path(), key, ErrNoKey)
	}
	return f.kvs[i].Value, nil
}

func (f *File) typeError(key string, v Value, want string) error {
	return fmt.Errorf("%s: metadata key %q is %s, expected %s", f.Path(), key, v.TypeName(), want)
}

// The getters return an error that matches ErrNoKey if the key is missing, and one that names the key, the type found
// and the type expected if it is of another type. The ...Or forms return def where the key is missing; a key of the
// wrong type is still an error.

// String returns a string.
func (f *File) String(key string) (string, error) {
	v, err := f.Value(key)
	if err != nil {
		return "", err
	}
	if v.typ != String {
		return "", f.typeError(key, v, "string")
	}
	return string(v.raw), nil
}

// Int returns an integer stored in any width.
func (f *File) Int(key string) (int64, error) {
	v, err := f.Value(key)
	if err != nil {
		return 0, err
	}
	if !v.typ.isInt() {
		return 0, f.typeError(key, v, "an integer")
	}
	x, ok := intAt(v.typ, v.raw)
	if !ok {
		return 0, fmt.Errorf("%s: metadata key %q is %v, expected at most %d", f.Path(), key, v.Any(),
			int64(math.MaxInt64))
	}
	return x, nil
}

// Uint32 returns an integer stored in any width whose value fits 32 bits without sign.
func (f *File) Uint32(key string) (uint32, error) {
	x, err := f.Int(key)
	if err != nil {
		return 0, err
	}
	if x < 0 || x > math.MaxUint32 {
		return 0, fmt.Errorf("%s: metadata key %q is %d, expected 0 to %d", f.Path(), key, x, uint32(math.MaxUint32))
	}
	return uint32(x), nil
}

// Float32 returns a float32, or a float64 rounded to it.
func (f *File) Float32(key string) (float32, error) {
	v, err := f.Value(key)
	if err != nil {
		return 0, err
	}
	if v.typ != Float32 && v.typ != Float64 {
		return 0, f.typeError(key, v, "float32")
	}
	return float32(floatAt(v.typ, v.raw)), nil
}

// Bool returns a bool.
func (f *File) Bool(key string) (bool, error) {
	v, err := f.Value(key)
	if err != nil {
		return false, err
	}
	if v.typ != Bool {
		return false, f.typeError(key, v, "bool")
	}
	return v.raw[0] != 0, nil
}

// Strings returns an array of strings.
func (f *File) Strings(key string) ([]string, error) {
	v, err := f.Value(key)
	if err != nil {
		return nil, err
	}
	if v.typ != Array || v.elem != String {
		return nil, f.typeError(key, v, "array of string")
	}
	return v.strings(), nil
}

// Floats returns an array of float32, or of float64 rounded to it.
func (f *File) Floats(key string) ([]float32, error) {
	v, err := f.Value(key)
	if err != nil {
		return nil, err
	}
	if v.typ != Array || v.elem != Float32 && v.elem != Float64 {
		return nil, f.typeError(key, v, "array of float32")
	}
	out := make([]float32, v.n)
	size := valueTypes[v.elem].size
	for i := range out {
		out[i] = float32(floatAt(v.elem, v.raw[i*size:]))
	}
	return out, nil
}

// Ints returns an array of integers stored in any width.
func (f *File) Ints(key string) ([]int64, error) {
	v, err := f.Value(key)
	if err != nil {
		return nil, err
	}
	if v.typ != Array || !v.elem.isInt() {
		return nil, f.typeError(key, v, "array of integers")
	}
	out := make([]int64, v.n)
	size := valueTypes[v.elem].size
	for i := range out {
		x, ok := intAt(v.elem, v.raw[i*size:])
		if !ok {
			return nil, fmt.Errorf("%s: metadata key %q: element %d is %d, expected at most %d", f.Path(), key, i,
				binary.LittleEndian.Uint64(v.raw[i*size:]), int64(math.MaxInt64))
		}
		out[i] = x
	}
	return out, nil
}

// Bools returns an array of bools.
func (f *File) Bools(key string) ([]bool, error) {
	v, err := f.Value(key)
	if err != nil {
		return nil, err
	}
	if v.typ != Array || v.elem != Bool {
		return nil, f.typeError(key, v, "array of bool")
	}
	out := make([]bool, v.n)
	for i := range out {
		out[i] = v.raw[i] != 0
	}
	return out, nil
}

func or[T any](x T, err error, def T) (T, error) {
	if errors.Is(err, ErrNoKey) {
		return def, nil
	}
	return x, err
}

// StringOr is String with a default.
func (f *File) StringOr(key, def string) (string, error) {
	x, err := f.String(key)
	return or(x, err, def)
}

// IntOr is Int with a default.
func (f *File) IntOr(key string, def int64) (int64, error) {
	x, err := f.Int(key)
	return or(x, err, def)
}

// Uint32Or is Uint32 with a default.
func (f *File) Uint32Or(key string, def uint32) (uint32, error) {
	x, err := f.Uint32(key)
	return or(x, err, def)
}

// Float32Or is Float32 with a default.
func (f *File) Float32Or(key string, def float32) (float32, error) {
	x, err := f.Float32(key)
	return or(x, err, def)
}

// BoolOr is Bool with a default.
func (f *File) BoolOr(key string, def bool) (bool, error) {
	x, err := f.Bool(key)
	return or(x, err, def)
}

// Architecture is the value of general.architecture, such as "llama".
func (f *File) Architecture() (string, error) { return f.String("general.architecture") }

// IsAdapter says whether the file is an adapter (general.type is "adapter"), not a model.
func (f *File) IsAdapter() bool {
	s, err := f.String("general.type")
	return err == nil && s == "adapter"
}

// IsImportance says whether the file is an importance matrix (general.type is "imatrix"), not a model.
func (f *File) IsImportance() bool {
	s, err := f.String("general.type")
	return err == nil && s == "imatrix"
}

// IsHead says whether the file is the head of a model that gives scores (general.type is "head"), not a model.
func (f *File) IsHead() bool {
	s, err := f.String("general.type")
	return err == nil && s == "head"
}

// IsVocabOnly says whether the file has no tensors: a vocabulary without a model.
func (f *File) IsVocabOnly() bool { return len(f.Tensors) == 0 }

// CheckModel refuses a file that is no model with weights: an adapter, an importance matrix, or a vocabulary alone.
func (f *File) CheckModel() error {
	switch {
	case f.IsAdapter():
		return fmt.Errorf("%s: this is an adapter, not a model; give the base that it was trained on (commands that "+
			"run adapters take them with -a)", f.Path())
	case f.IsImportance():
		return fmt.Errorf("%s: this is an importance matrix, not a model; quantize takes it with --imatrix", f.Path())
	case f.IsHead():
		return fmt.Errorf("%s: this is the head of a reward model or reranker, not a model; give the base that it was "+
			"trained on (commands that read scores find it beside the adapter, or take it with --head)", f.Path())
	case f.IsVocabOnly():
		return fmt.Errorf("%s: the file holds a vocabulary but no tensors; a model with weights is needed", f.Path())
	}
	return nil
}

// CheckAdapter refuses a file that is no adapter.
func (f *File) CheckAdapter() error {
	if f.IsHead() {
		return fmt.Errorf("%s: this is the head of a reward model or reranker, not an adapter; give the one beside it",
			f.Path())
	}
	if !f.IsAdapter() {
		return fmt.Errorf("%s: this is a model, not an adapter; an adapter has general.type \"adapter\"", f.Path())
	}
	return nil
}
