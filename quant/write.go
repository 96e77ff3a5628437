package quant

import (
	"context"
	"fmt"
	"io"
	"math"
	"runtime"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/atomicfile"
)

// Output says how a file is written. The zero Output is ready.
type Output struct {
	FS      atomicfile.FS // nil: the real file system
	Threads int           // that quantize; 0: as many as there are cores
	// Metadata changes what is written beside the tensors; nil: nothing but the file's types.
	Metadata func(*gguf.Writer)
	// PartBytes writes the model in parts of at most so many bytes of tensors, as llama.cpp's gguf-split does; 0: in
	// one file.
	PartBytes int64
	// Progress is told, after each piece, how many elements of all are done. nil: nobody is.
	Progress func(done, total int64)
}

// A Loss is what rounding took from a tensor: sums over its elements.
type Loss struct {
	Error  float64 // of squared differences
	Signal float64 // of squares
}

// RMS is the root mean square of the difference, relative to that of the weights.
func (l Loss) RMS() float64 {
	if l.Signal == 0 {
		return 0
	}
	return math.Sqrt(l.Error / l.Signal)
}

func (l *Loss) add(o Loss) { l.Error, l.Signal = l.Error+o.Error, l.Signal+o.Signal }

// A Result is what Write did.
type Result struct {
	Losses []Loss // of each tensor; zero where its bytes were copied
	Total  Loss   // of all that were not copied
	// Nudged counts the elements of each tensor that kept the grids of their blocks: see Nudged.
	Nudged []int64
}

func (p *Plan) newResult() Result {
	return Result{Losses: make([]Loss, len(p.Changes)), Nudged: make([]int64, len(p.Changes))}
}

// quantizationVersion is ggml's GGML_QNT_VERSION: the layout of its quantized blocks.
const quantizationVersion = 2

// Write carries the plan out and writes the model under path (in parts: under the names of Paths), atomically. It
// refuses to write over the plan's own file, and weights that are no finite numbers, copied ones too. On cancel it
// returns context.Cause(ctx).
func Write(ctx context.Context, p Plan, rows Rows, path string, o Output) (Result, error) {
	r := p.newResult()
	w, err := p.writer(ctx, rows, o, &r)
	if err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	parts, paths, err := divide(w, path, o.PartBytes)
	if err != nil {
		return r, err
	}
	for _, path := range paths {
		if err := atomicfile.Distinct(path, p.file.Parts()...); err != nil {
			return r, err
		}
	}
	if parts == nil {
		err = w.WriteFile(ctx, o.FS, path)
	} else {
		err = gguf.WriteParts(ctx, o.FS, parts, path)
	}
	if err != nil {
		return r, err
	}
	for _, l := range r.Losses {
		r.Total.add(l)
	}
	return r, p.file.CheckUnchanged()
}

// Paths names the files that Write would write.
func (p *Plan) Paths(path string, partBytes int64) ([]string, error) {
	w, err := p.writer(context.Background(), FileRows(p.file), Output{}, new(p.newResult()))
	if err != nil {
		return nil, err
	}
	_, paths, err := divide(w, path, partBytes)
	return paths, err
}

// FileBytes is the size of the file that Write would write, metadata and all.
func (p *Plan) FileBytes() (int64, error) {
	w, err := p.writer(context.Background(), FileRows(p.file), Output{}, new(p.newResult()))
	if err != nil {
		return 0, err
	}
	return w.Size()
}

// divide splits what is written, if that is asked for, and names the files.
func divide(w *gguf.Writer, path string, partBytes int64) (parts []*gguf.Writer, paths []string, err error) {
	if partBytes <= 0 {
		return nil, []string{path}, nil
	}
	if parts, err = w.Split(partBytes); err != nil {
		return nil, nil, fmt.Errorf("write %s: %w", path, err)
	}
	return parts, gguf.SplitPaths(path, len(parts)), nil
}

// writer gathers metadata and tensors, which are converted while it writes.
func (p *Plan) writer(ctx context.Context, rows Rows, o Output, r *Result) (*gguf.Writer, error) {
	w := &gguf.Writer{}
	w.CopyMetadata(p.file)
	w.SetUint32("general.quantization_version", quantizationVersion)
	if p.FileType != nil {
		w.SetUint32("general.file_type", *p.FileType)
	}
	if o.Metadata != nil {
		o.Metadata(w)
	}
	if o.Threads <= 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	count := &counter{tell: o.Progress}
	for i := range p.Changes {
		c := &p.Changes[i]
		var err error
		if c.To == c.Tensor.Type && rows.Unchanged(i) {
			err = w.Add(c.Tensor.Name, c.To, c.Tensor.Shape, func(dst io.Writer) error {
				if err := checkTensor(ctx, p.file, i, o.Threads); err != nil {
					return err
				}
				return p.file.CopyTo(dst, &c.Tensor)
			})
		} else {
			job := conversion{path: p.file.Path(), change: c, read: func(at int64, dst []float32) error {
				return rows.Read(i, at, dst)
			}, done: count.add, loss: &r.Losses[i], nudged: &r.Nudged[i], importance: func(matrix int64) []float32 {
				return p.importance.of(&c.Tensor, matrix)
			}}
			if s, ok := rows.(Stored); ok && c.To == c.Tensor.Type && s.Stores(i) {
				job.stored = func(at int64, dst []byte) error { return s.ReadStored(i, at, dst) }
			}
			if c.To == c.Tensor.Type && job.stored == nil {
				if job.nudger, err = newNudger(p.file, i, rows); err != nil {
					return nil, err
				}
			}
			count.total += c.Tensor.Elements()
			err = w.Add(c.Tensor.Name, c.To, c.Tensor.Shape, func(dst io.Writer) error {
				return job.run(ctx, dst, o.Threads)
			})
		}
		if err != nil {
			return nil, err
		}
	}
	return w, nil
}

// A counter tells how much is done.
type counter struct {
	done, total int64
	tell        func(done, total int64)
}

func (c *counter) add(n int64) {
	c.done += n
	if c.tell != nil {
		c.tell(c.done, c.total)
	}
}
