// Package distant is a device of which the process sees nothing: the processor behind memory that is reached through
// handles alone. It is for tests of what works on backends: they must give on it what they give on the processor, bit
// for bit.
package distant

import (
	"context"
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/cpu"
	"github.com/ggtune/ggtune/engine/graph"
)

// A Backend keeps its blocks in memory of its own. What a program works on is copied to the processor's and back.
type Backend struct {
	cpu     *cpu.Backend
	blocks  map[backend.Mem][]byte
	weights map[backend.Mem]weight
	last    backend.Mem
	bytes   int64
	// Runs counts the programs run.
	Runs int
}

var _ backend.Backend = (*Backend)(nil)

// A weight is the processor's handles of a copy: of its memory, and of the weight in it.
type weight struct{ copied, held backend.Mem }

// New gives a device of that many threads. Close it.
func New(threads int) (*Backend, error) {
	c, err := cpu.New(threads)
	if err != nil {
		return nil, err
	}
	return &Backend{cpu: c, blocks: map[backend.Mem][]byte{}, weights: map[backend.Mem]weight{}, last: 1 << 40},
		nil
}

// Name is "distant".
func (b *Backend) Name() string { return "distant" }

// Check refuses what the processor lacks.
func (b *Backend) Check(g *graph.Graph) error { return b.cpu.Check(g) }

// handle is a number that is no index and no address, and is never given twice.
func (b *Backend) handle() backend.Mem {
	b.last += 7
	return b.last
}

// Hold copies the weight.
func (b *Backend) Hold(w backend.Weight) (backend.Mem, error) {
	block, err := b.cpu.Alloc(int64(len(w.Data)))
	if err != nil {
		return 0, err
	}
	data, err := b.cpu.HostBytes(backend.Place{Mem: block}, int64(len(w.Data)))
	if err == nil {
		copy(data, w.Data)
		w.Data = data
		var m backend.Mem
		if m, err = b.cpu.Hold(w); err == nil {
			h := b.handle()
			b.weights[h] = weight{block, m}
			return h, nil
		}
	}
	b.cpu.Free(block)
	return 0, err
}

// Alloc gives a block.
func (b *Backend) Alloc(bytes int64) (backend.Mem, error) {
	if bytes < 0 {
		return 0, fmt.Errorf("distant: a block of %d bytes", bytes)
	}
	h := b.handle()
	b.blocks[h] = make([]byte, bytes)
	b.bytes += bytes
	return h, nil
}

// Free panics for what is no block.
func (b *Backend) Free(m backend.Mem) {
	if m == 0 || b.blocks == nil {
		return
	}
	if w, ok := b.weights[m]; ok {
		b.cpu.Free(w.held)
		b.cpu.Free(w.copied)
		delete(b.weights, m)
		return
	}
	p, ok := b.blocks[m]
	if !ok {
		panic(fmt.Sprintf("distant: %d is no block, or was freed before", m))
	}
	b.bytes -= int64(len(p))
	delete(b.blocks, m)
}

func (b *Backend) at(p backend.Place, n int64) ([]byte, error) {
	block, ok := b.blocks[p.Mem]
	if !ok {
		return nil, fmt.Errorf("distant: %d is no block", p.Mem)
	}
	if p.At < 0 || n < 0 || p.At+n > int64(len(block)) {
		return nil, fmt.Errorf("distant: bytes %d to %d of a block of %d", p.At, p.At+n, len(block))
	}
	return block[p.At : p.At+n], nil
}

// Upload copies into a block.
func (b *Backend) Upload(dst backend.Place, src []byte) error {
	to, err := b.at(dst, int64(len(src)))
	copy(to, src)
	return err
}

// Download copies out of a block.
func (b *Backend) Download(dst []byte, src backend.Place) error {
	from, err := b.at(src, int64(len(dst)))
	copy(dst, from)
	return err
}

// Zero clears bytes of a block.
func (b *Backend) Zero(at backend.Place, bytes int64) error {
	p, err := b.at(at, bytes)
	clear(p)
	return err
}

// Held is the number of weights.
func (b *Backend) Held() int { return len(b.weights) }

// Bytes is the memory of the blocks.
func (b *Backend) Bytes() int64 { return b.bytes }

// Close frees everything.
func (b *Backend) Close() error {
	b.blocks, b.weights, b.bytes = nil, nil, 0
	return b.cpu.Close()
}

// Compile has the processor compile.
func (b *Backend) Compile(g *graph.Graph, keep []graph.ID, exact bool) (backend.Program, error) {
	p, err := b.cpu.Compile(g, keep, exact)
	if err != nil {
		return nil, err
	}
	written := map[graph.ID]bool{}
	for _, id := range append(append([]graph.ID(nil), g.Outputs...), keep...) {
		written[id] = true
	}
	return &program{Program: p, backend: b, written: written}, nil
}

// Kept is the processor's.
func (b *Backend) Kept(a graph.AttentionAttr, exact bool) backend.Kept { return b.cpu.Kept(a, exact) }

// A program is one of the processor's.
type program struct {
	backend.Program
	backend *Backend
	written map[graph.ID]bool // outputs and kept values
}

// A copied value is one of a run, and where it lies on both sides.
type copied struct {
	here []byte // the device's
	cpu  backend.Place
	back bool // written by the program
}

// A run is a program on its way.
type run struct {
	*program
	bind   *backend.Binding
	values []copied
	faults []error
}

// Run copies what the program reads to the processor, and what it writes back.
func (p *program) Run(ctx context.Context, bind *backend.Binding) error {
	r := &run{program: p, bind: bind}
	defer r.free()
	p.backend.Runs++
	if _, err := p.backend.at(bind.Work, p.Work()); err != nil {
		return err
	}
	near := *bind
	var err error
	if near.Work.Mem, err = p.backend.cpu.Alloc(p.Work()); err != nil {
		return err
	}
	defer p.backend.cpu.Free(near.Work.Mem)
	near.Work.At, near.Of = 0, r.of
	if err := p.Program.Run(ctx, &near); err != nil {
		return errors.Join(append(r.faults, err)...)
	}
	for _, v := range r.values {
		if v.back {
			r.faults = append(r.faults, p.backend.cpu.Download(v.here, v.cpu))
		}
	}
	return errors.Join(r.faults...)
}

// of copies a value and says where; a place that is none leaves a fault and gives the processor none.
func (r *run) of(id graph.ID, v *graph.Value) backend.Place {
	b := r.backend
	at := r.bind.Of(id, v)
	if v.Kind == graph.Weight {
		w, ok := b.weights[at.Mem]
		if !ok {
			r.faults = append(r.faults, fmt.Errorf("distant: %d is no weight", at.Mem))
		}
		return backend.Place{Mem: w.held, At: at.At}
	}
	c := copied{back: v.Kind == graph.Grad || v.Kind == graph.State || r.written[id]}
	var err error
	if c.here, err = b.at(at, v.Bytes()); err == nil {
		c.cpu.Mem, err = b.cpu.Alloc(int64(len(c.here)))
	}
	if err == nil && v.Kind != graph.Temp {
		err = b.cpu.Upload(c.cpu, c.here)
	}
	if err != nil {
		r.faults = append(r.faults, fmt.Errorf("value %d %q: %w", id, v.Name, err))
		return backend.Place{}
	}
	r.values = append(r.values, c)
	return c.cpu
}

func (r *run) free() {
	for _, v := range r.values {
		r.backend.cpu.Free(v.cpu.Mem)
	}
}
