package gguf

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/stream"
)

// A Writer gathers metadata and tensors and writes them as one GGUF version 3 file. Equal contents give equal bytes. It
// is not safe for concurrent use. The zero Writer is empty and ready.
type Writer struct {
	kvs     []KV
	byKey   map[string]int
	tensors []tensorEntry
	byName  map[string]bool
}

type tensorEntry struct {
	info TensorInfo
	src  stream.Source
}

// Set sets a metadata value. A key keeps the place at which it was first set.
func (w *Writer) Set(key string, v Value) {
	if w.byKey == nil {
		w.byKey = map[string]int{}
	}
	if i, ok := w.byKey[key]; ok {
		w.kvs[i].Value = v
		return
	}
	w.byKey[key] = len(w.kvs)
	w.kvs = append(w.kvs, KV{key, v})
}

// SetString sets a string.
func (w *Writer) SetString(key, s string) { w.Set(key, StringValue(s)) }

// SetUint32 sets a uint32, the integer type in which llama.cpp expects its hyper-parameters.
func (w *Writer) SetUint32(key string, x uint32) { w.Set(key, NumberValue(x)) }

// SetInt32 sets an int32.
func (w *Writer) SetInt32(key string, x int32) { w.Set(key, NumberValue(x)) }

// SetFloat32 sets a float32.
func (w *Writer) SetFloat32(key string, x float32) { w.Set(key, NumberValue(x)) }

// SetBool sets a bool.
func (w *Writer) SetBool(key string, b bool) { w.Set(key, BoolValue(b)) }

// SetStrings sets an array of strings.
func (w *Writer) SetStrings(key string, ss []string) { w.Set(key, StringsValue(ss)) }

// KVs lists the metadata in the order in which it will be written. Not to be changed.
func (w *Writer) KVs() []KV { return w.kvs }

// Delete removes a metadata key, if it is there.
func (w *Writer) Delete(key string) {
	i, ok := w.byKey[key]
	if !ok {
		return
	}
	w.kvs = append(w.kvs[:i], w.kvs[i+1:]...)
	delete(w.byKey, key)
	for j := i; j < len(w.kvs); j++ {
		w.byKey[w.kvs[j].Key] = j
	}
}

// CopyMetadata sets all metadata of f in its order, byte for byte, except keys of splitting: what is written is one
// file.
func (w *Writer) CopyMetadata(f *File) {
	for _, kv := range f.kvs {
		switch kv.Key {
		case keySplitCount, keySplitNo, keySplitTensors:
		default:
			w.Set(kv.Key, kv.Value)
		}
	}
}

// Add appends a tensor whose bytes src writes. It fails if the name, type or shape could not be read back, or the name
// is taken.
func (w *Writer) Add(name string, t Type, shape []int64, src stream.Source) error {
	switch {
	case len(name) == 0 || len(name) > maxName:
		return fmt.Errorf("tensor name %q has %d bytes; names have 1 to %d", name, len(name), maxName)
	case w.byName[name]:
		return fmt.Errorf("tensor %q was already added", name)
	case len(shape) > maxDims:
		return fmt.Errorf("tensor %q has %d dimensions; at most %d exist", name, len(shape), maxDims)
	}
	size, err := t.Size(shape)
	if err != nil {
		return fmt.Errorf("tensor %q %w", name, err)
	}
	if w.byName == nil {
		w.byName = map[string]bool{}
	}
	w.byName[name] = true
	info := TensorInfo{Name: name, Type: t, Shape: append([]int64(nil), shape...), Size: size}
	w.tensors = append(w.tensors, tensorEntry{info, src})
	return nil
}

// AddBytes appends a tensor whose bytes are data, borrowed until the file is written.
func (w *Writer) AddBytes(name string, t Type, shape []int64, data []byte) error {
	return w.Add(name, t, shape, func(dst io.Writer) error {
		_, err := dst.Write(data)
		return err
	})
}

// AddFloats appends an F32 tensor, borrowed until the file is written.
func (w *Writer) AddFloats(name string, shape []int64, data []float32) error {
	return w.Add(name, F32, shape, stream.Floats(data))
}

// AddReader appends a tensor whose bytes are read from r, to its end: such a Writer writes once.
func (w *Writer) AddReader(name string, t Type, shape []int64, r io.Reader) error {
	return w.Add(name, t, shape, func(dst io.Writer) error {
		_, err := io.Copy(dst, r)
		return err
	})
}

// AddFrom appends tensor t of f as it stands there. f must stay open until the file is written.
func (w *Writer) AddFrom(f *File, t *TensorInfo) error {
	return w.Add(t.Name, t.Type, t.Shape, func(dst io.Writer) error { return f.CopyTo(dst, t) })
}

// CopyTo writes the bytes of tensor t. A file that was cut short meanwhile is an error (ErrChanged).
func (f *File) CopyTo(dst io.Writer, t *TensorInfo) error {
	b, err := f.Data(t)
	if err != nil {
		return err
	}
	return reading(f.parts[t.Part].path, b, func() error {
		_, err := dst.Write(b)
		return err
	})
}

// Tensors describes what was added, with the offsets it will be written at.
func (w *Writer) Tensors() ([]TensorInfo, error) {
	head, err := w.header()
	if err != nil {
		return nil, err
	}
	out := make([]TensorInfo, len(w.tensors))
	off := int64(len(head))
	for i, t := range w.tensors {
		out[i] = t.info
		out[i].Offset = off
		off += w.pad(t.info.Size)
	}
	return out, nil
}

// Size is how many bytes Write writes.
func (w *Writer) Size() (int64, error) {
	head, err := w.header()
	n := int64(len(head))
	for _, t := range w.tensors {
		n += w.pad(t.info.Size)
	}
	return n, err
}

func (w *Writer) alignment() int64 {
	if i, ok := w.byKey[keyAlignment]; ok {
		if v := w.kvs[i].Value; v.typ == Uint32 {
			return int64(binary.LittleEndian.Uint32(v.raw))
		}
	}
	return defaultAlignment
}

func (w *Writer) pad(n int64) int64 {
	a := w.alignment()
	return (n + a - 1) &^ (a - 1)
}

// header is all that precedes the tensor data, padded if there is any.
func (w *Writer) header() ([]byte, error) {
	if _, err := alignmentOf(w.kvs); err != nil {
		return nil, err
	}
	b := append([]byte(nil), magic...)
	b = binary.LittleEndian.AppendUint32(b, 3)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(w.tensors)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(w.kvs)))
	for _, kv := range w.kvs {
		if kv.Key == "" {
			return nil, fmt.Errorf("metadata key is empty (value %v)", kv.Value)
		}
		if !kv.Value.valid() {
			return nil, fmt.Errorf("metadata key %q has a Value that no constructor made", kv.Key)
		}
		b = binary.LittleEndian.AppendUint64(b, uint64(len(kv.Key)))
		b = append(b, kv.Key...)
		b = kv.Value.appendTo(b)
	}
	off := int64(0)
	for _, t := range w.tensors {
		b = binary.LittleEndian.AppendUint64(b, uint64(len(t.info.Name)))
		b = append(b, t.info.Name...)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(t.info.Shape)))
		for _, d := range t.info.Shape {
			b = binary.LittleEndian.AppendUint64(b, uint64(d))
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(t.info.Type))
		b = binary.LittleEndian.AppendUint64(b, uint64(off))
		off += w.pad(t.info.Size)
	}
	if len(w.tensors) == 0 {
		return b, nil // a vocabulary: nothing follows that would need alignment
	}
	return append(b, make([]byte, w.pad(int64(len(b)))-int64(len(b)))...), nil
}

// Write writes the whole file to dst and returns its size, bytes. It stops between writes when ctx is cancelled and
// returns context.Cause(ctx).
func (w *Writer) Write(ctx context.Context, dst io.Writer) (int64, error) {
	head, err := w.header()
	if err != nil {
		return 0, err
	}
	c := stream.NewWriter(ctx, dst)
	if _, err := c.Write(head); err != nil {
		return c.N, err
	}
	for _, t := range w.tensors {
		if err := c.Tensor(t.info.Name, t.info.Size, t.info.form(), t.src); err != nil {
			return c.N, err
		}
		if _, err := c.Write(make([]byte, w.pad(t.info.Size)-t.info.Size)); err != nil {
			return c.N, err
		}
	}
	return c.N, nil
}

// form words the shape and the type of a tensor.
func (t *TensorInfo) form() string { return fmt.Sprintf("%v of type %s", t.Shape, t.Type) }

// WriteFile writes the whole file under path, atomically: until it is complete and flushed, path is as it was. A nil
// fsys means the real file system.
func (w *Writer) WriteFile(ctx context.Context, fsys atomicfile.FS, path string) error {
	f, err := atomicfile.Create(fsys, path, 0o666)
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := w.writeTo(ctx, f); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Commit()
}

func (w *Writer) writeTo(ctx context.Context, f io.Writer) error {
	return stream.Buffered(f, func(dst io.Writer) error {
		_, err := w.Write(ctx, dst)
		return err
	})
}
