package quant

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/gguf"
)

// Rows are the weights that Write puts into the types of a plan. Its methods are called by several goroutines at once.
type Rows interface {
	// Unchanged says that tensor i holds what it holds in the plan's file. Where its type does not change either, its
	// bytes are copied.
	Unchanged(i int) bool
	// Read fills dst with elements of tensor i, from element at on. Both are whole rows.
	Read(i int, at int64, dst []float32) error
}

// Stored are Rows that give some tensors, where their type stays, in that type already: they are not quantized.
type Stored interface {
	Rows
	// Stores says that ReadStored gives tensor i, in the type that it has in the plan's file.
	Stores(i int) bool
	// ReadStored is Read of stored bytes, those of whole rows from element at on.
	ReadStored(i int, at int64, dst []byte) error
}

// FileRows are a file's own weights, dequantized. The file must stay open.
func FileRows(f *gguf.File) Rows { return fileRows{f} }

type fileRows struct{ f *gguf.File }

func (fileRows) Unchanged(int) bool { return true }

func (r fileRows) Read(i int, at int64, dst []float32) error {
	t := &r.f.Tensors[i]
	data, err := r.f.Data(t)
	if err != nil {
		return err
	}
	begin, err := ggml.Type(t.Type).RowSize(at)
	if err != nil {
		return fmt.Errorf("%s: tensor %q: %w", r.f.Path(), t.Name, err)
	}
	n, err := ggml.Type(t.Type).RowSize(int64(len(dst)))
	if err != nil {
		return fmt.Errorf("%s: tensor %q: %w", r.f.Path(), t.Name, err)
	}
	if begin+n > int64(len(data)) {
		return fmt.Errorf("%s: tensor %q: elements %d to %d are asked for, of %d", r.f.Path(), t.Name, at,
			at+int64(len(dst)), t.Elements())
	}
	if err := ggml.DequantizeTo(ggml.Type(t.Type), dst, data[begin:begin+n]); err != nil {
		return fmt.Errorf("%s: tensor %q: %w", r.f.Path(), t.Name, err)
	}
	return nil
}

// Largest finds the largest magnitude among a file's weights and the tensor that holds it, and refuses the first weight
// that is no finite number. It reads the file, which takes seconds for a large model. On cancel it returns
// context.Cause(ctx).
func Largest(ctx context.Context, f *gguf.File) (tensor string, largest float32, err error) {
	for i := range f.Tensors {
		err := scan(ctx, f, i, 1, func(x []float32) {
			for _, v := range x {
				if max(v, -v) > largest {
					tensor, largest = f.Tensors[i].Name, max(v, -v)
				}
			}
		})
		if err != nil {
			return "", 0, err
		}
	}
	return tensor, largest, nil
}

// checkTensor refuses the first weight of tensor i that is no finite number.
func checkTensor(ctx context.Context, f *gguf.File, i, threads int) error {
	return scan(ctx, f, i, threads, func([]float32) {})
}

// scan reads tensor i in pieces, each of which is told to look by one of the threads, and refuses the first weight that
// is no finite number. Of a type that is no numbers there is nothing to read.
func scan(ctx context.Context, f *gguf.File, i, threads int, look func(x []float32)) error {
	t := &f.Tensors[i]
	if !ggml.Type(t.Type).Dequantizes() {
		return nil
	}
	rows, step := FileRows(f), chunkOf(t.Shape)
	var next atomic.Int64
	var mu sync.Mutex
	var first error
	end := t.Elements() // of what need be read: pieces go out in order, and those behind a failure change nothing
	read := func(x []float32, at int64) error {
		if err := rows.Read(i, at, x); err != nil {
			return err
		}
		return checkFinite(f.Path(), t.Name, at, x)
	}
	var wait sync.WaitGroup
	for range threads {
		wait.Go(func() {
			x := make([]float32, min(step, t.Elements()))
			for ctx.Err() == nil {
				at := next.Add(step) - step
				mu.Lock()
				n := min(step, end-at)
				mu.Unlock()
				if n <= 0 {
					return
				}
				x = x[:n]
				err := read(x, at)
				if err == nil {
					look(x)
					continue
				}
				mu.Lock()
				if at < end {
					first, end = err, at
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	if first == nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return first
}

// chunkOf is the number of elements, whole rows, that are read at once: about 1/4 MB of f32, so that small matrices
// keep all threads busy too.
func chunkOf(shape []int64) int64 {
	const elements = 1 << 16
	row := int64(1) // a scalar's
	if len(shape) > 0 {
		row = shape[0]
	}
	return max(1, elements/row) * row
}

var errNotFinite = errors.New("not a finite number")

// checkFinite refuses NaN and infinity among the elements of a tensor from number at on.
func checkFinite(path, tensor string, at int64, x []float32) error {
	if i := ggml.NotFinite(x); i >= 0 {
		return fmt.Errorf("%s: tensor %q: element %d is %v; the file is damaged or the model diverged: %w", path,
			tensor, at+int64(i), x[i], errNotFinite)
	}
	return nil
}
