package quant

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/gguf"
)

// A conversion writes one tensor in its new type.
type conversion struct {
	path   string // of the source, for messages
	change *Change
	read   func(at int64, dst []float32) error
	done   func(elements int64) // told after each piece, by one goroutine
	loss   *Loss
	nudged *int64 // elements that kept their grids
	// importance weighs the rows of a matrix of the tensor; nil: there is none
	importance func(matrix int64) []float32
	// stored gives bytes that need not be quantized; nil: all must be
	stored func(at int64, dst []byte) error
	nudger *nudger // nil: nothing keeps its grid
}

// A piece is a few rows of a tensor on their way through a thread.
type piece struct {
	at     int64
	matrix int64 // of the tensor's, which has weights of its own
	in     []float32
	out    []byte
	back   []float32
	loss   Loss
	nudged int64 // elements that keep their grids

	base, near []float32 // of the nudger: the source's, and those on its grids
	grid       []byte
	err        error
	converted  chan struct{}
}

// run converts on so many threads, and writes to dst in the rows' order. What is under way at once is two pieces a
// thread.
func (c *conversion) run(ctx context.Context, dst io.Writer, threads int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var wait sync.WaitGroup
	defer wait.Wait()
	defer cancel(nil)
	jobs, order := make(chan *piece), make(chan *piece, 2*threads)
	free := make(chan *piece, 2*threads)
	for range 2 * threads {
		free <- &piece{}
	}
	for range threads {
		wait.Go(func() {
			for p := range jobs {
				p.err = c.convert(p)
				close(p.converted)
			}
		})
	}
	wait.Go(func() {
		defer close(order)
		defer close(jobs)
		c.feed(ctx, free, jobs, order)
	})
	for p := range order {
		<-p.converted
		if p.err != nil {
			return p.err
		}
		if _, err := dst.Write(p.out); err != nil {
			return err
		}
		c.loss.add(p.loss)
		*c.nudged += p.nudged
		c.done(int64(len(p.in)))
		free <- p
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// Tensor writes tensor i of f in another type to dst, which has that size, as Write would write it.
func Tensor(ctx context.Context, f *gguf.File, rows Rows, i int, to gguf.Type, importance Importance, dst []byte,
	threads int) error {
	c := &Change{Tensor: f.Tensors[i], To: to}
	size, err := to.Size(c.Tensor.Shape)
	if err == nil && size != int64(len(dst)) {
		err = fmt.Errorf("takes %d bytes, and there is room for %d", size, len(dst))
	}
	if err != nil {
		return fmt.Errorf("%s: tensor %q as %s %w", f.Path(), c.Tensor.Name, to, err)
	}
	job := conversion{path: f.Path(), change: c, done: func(int64) {}, loss: &Loss{}, nudged: new(int64),
		read:       func(at int64, dst []float32) error { return rows.Read(i, at, dst) },
		importance: func(matrix int64) []float32 { return importance.of(&c.Tensor, matrix) }}
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	return job.run(ctx, bytes.NewBuffer(dst[:0]), threads)
}

// feed cuts the tensor's matrices into pieces, each of which goes to a thread, and to whoever waits for them in order.
func (c *conversion) feed(ctx context.Context, free <-chan *piece, jobs, order chan<- *piece) {
	t := &c.change.Tensor
	step, size := chunkOf(t.Shape), int64(1)
	for _, n := range t.Shape[:min(2, len(t.Shape))] {
		size *= n
	}
	for begin := int64(0); begin < t.Elements(); begin += size {
		for at := begin; at < begin+size; at += step {
			var p *piece
			select {
			case p = <-free:
			case <-ctx.Done():
				return
			}
			p.at, p.matrix, p.in = at, begin/size, resized(p.in, min(step, begin+size-at))
			p.converted = make(chan struct{})
			order <- p // has room for all there are
			jobs <- p
		}
	}
}

// convert makes p.out and p.loss of the rows from p.at on.
func (c *conversion) convert(p *piece) error {
	t, to := &c.change.Tensor, ggml.Type(c.change.To)
	if err := c.read(p.at, p.in); err != nil {
		return err
	}
	if err := checkFinite(c.path, t.Name, p.at, p.in); err != nil {
		return err
	}
	n, err := to.RowSize(int64(len(p.in)))
	if err != nil {
		return fmt.Errorf("%s: tensor %q: %w", c.path, t.Name, err)
	}
	row := int64(1)
	if len(t.Shape) > 0 {
		row = t.Shape[0]
	}
	p.out, p.back = resized(p.out, n), resized(p.back, int64(len(p.in)))
	if c.stored != nil {
		err = c.stored(p.at, p.out)
	} else {
		err = ggml.QuantizeTo(to, p.out, p.in, row, c.importance(p.matrix))
	}
	if err != nil {
		return fmt.Errorf("%s: tensor %q: %w", c.path, t.Name, err)
	}
	if err := ggml.DequantizeTo(to, p.back, p.out); err != nil {
		return fmt.Errorf("%s: tensor %q: %w", c.path, t.Name, err)
	}
	if c.nudger != nil {
		if err := c.nudger.instead(p); err != nil {
			return fmt.Errorf("%s: tensor %q: %w", c.path, t.Name, err)
		}
	}
	p.loss = Loss{}
	for i, x := range p.in {
		y := p.back[i]
		if y-y != 0 {
			return c.beyond(p.at+int64(i), x)
		}
		d := float64(x) - float64(y)
		p.loss.Error += d * d
		p.loss.Signal += float64(x) * float64(x)
	}
	return nil
}

// beyond is the error of a number that the new type cannot hold: f16's range is also that of the scales of blocks.
func (c *conversion) beyond(at int64, x float32) error {
	if c.change.To == gguf.F16 {
		return fmt.Errorf("%s: tensor %q: element %d is %v, beyond f16's %v; use bf16 or q8_0", c.path,
			c.change.Tensor.Name, at, x, maxF16)
	}
	return fmt.Errorf("%s: tensor %q: element %d is %v, and the scale of its block in %s is beyond the range of an "+
		"f16; use bf16", c.path, c.change.Tensor.Name, at, x, c.change.To)
}

const maxF16 = 65504

func resized[T any](s []T, n int64) []T {
	if int64(cap(s)) < n {
		return make([]T, n)
	}
	return s[:n]
}
