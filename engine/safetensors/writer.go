package safetensors

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/stream"
)

// A Writer gathers tensors and writes them, in the order in which they were added, as one file. Equal contents give
// equal bytes. It is not safe for concurrent use. The zero Writer is empty and ready.
type Writer struct {
	// Metadata is the header's "__metadata__". Who reads with PyTorch wants "format": "pt" in it.
	Metadata map[string]string

	tensors []Tensor
	sources []stream.Source
	byName  map[string]bool
	size    int64
}

// Add appends a tensor whose bytes src writes.
func (w *Writer) Add(name string, t DType, shape []int64, src stream.Source) error {
	if w.byName == nil {
		w.byName = map[string]bool{keyMetadata: true}
	}
	if w.byName[name] {
		return fmt.Errorf("tensor %q was already added, or is no name for one", name)
	}
	size, err := t.Size(shape)
	if err != nil {
		return fmt.Errorf("tensor %q %w", name, err)
	}
	if size > math.MaxInt64-w.size {
		return fmt.Errorf("tensor %q: the file's size overflows 64 bits", name)
	}
	w.byName[name] = true
	w.tensors = append(w.tensors, Tensor{Name: name, DType: t, Shape: append([]int64{}, shape...), offset: w.size,
		size: size})
	w.sources = append(w.sources, src)
	w.size += size
	return nil
}

// Tensors lists what was added. Not to be changed.
func (w *Writer) Tensors() []Tensor { return w.tensors }

// AddFloats appends an F32 tensor, borrowed until the file is written.
func (w *Writer) AddFloats(name string, shape []int64, data []float32) error {
	return w.Add(name, F32, shape, stream.Floats(data))
}

// header is all that precedes the tensors' bytes, with spaces to a multiple of 8, so that these are aligned.
func (w *Writer) header() ([]byte, error) {
	b := append(make([]byte, 8), '{')
	put := func(name string, v any) error {
		if len(b) > 9 {
			b = append(b, ',')
		}
		for i, v := range []any{name, v} {
			text, err := json.Marshal(v)
			if err != nil {
				return fmt.Errorf("tensor %q: %w", name, err)
			}
			if i > 0 {
				b = append(b, ':')
			}
			b = append(b, text...)
		}
		return nil
	}
	if len(w.Metadata) > 0 {
		if err := put(keyMetadata, w.Metadata); err != nil {
			return nil, err
		}
	}
	for _, t := range w.tensors {
		dtype := string(t.DType)
		if err := put(t.Name, described{&dtype, t.Shape, []int64{t.offset, t.offset + t.size}}); err != nil {
			return nil, err
		}
	}
	b = append(b, '}')
	for len(b)%8 != 0 {
		b = append(b, ' ')
	}
	if len(b)-8 > maxHeader {
		return nil, fmt.Errorf("the header has %d bytes; the format allows %d", len(b)-8, maxHeader)
	}
	binary.LittleEndian.PutUint64(b, uint64(len(b)-8))
	return b, nil
}

// Write writes the whole file to dst. It stops between writes when ctx is cancelled and returns context.Cause(ctx).
func (w *Writer) Write(ctx context.Context, dst io.Writer) error {
	head, err := w.header()
	if err != nil {
		return err
	}
	c := stream.NewWriter(ctx, dst)
	if _, err := c.Write(head); err != nil {
		return err
	}
	for i, t := range w.tensors {
		if err := c.Tensor(t.Name, t.size, fmt.Sprintf("%v of dtype %s", t.Shape, t.DType), w.sources[i]); err != nil {
			return err
		}
	}
	return nil
}

// WriteFile writes the whole file under a name in a folder.
func (w *Writer) WriteFile(ctx context.Context, d *atomicfile.Dir, name string) error {
	f, err := d.Create(name)
	if err != nil {
		return err
	}
	err = stream.Buffered(f, func(dst io.Writer) error { return w.Write(ctx, dst) })
	return errors.Join(err, f.Close())
}
