package cpu

import (
	"context"
	"fmt"
	"time"
	"unsafe"

	"github.com/ggtune/ggtune/bindings"
	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
)

// A slot is a run of memory that one value, or several one after the other, live in.
type slot struct {
	value       graph.ID // the bound or exported value whose memory this is, or None
	bytes       int64
	first, last int   // calls between which the contents matter; placed slots only
	offset      int64 // in the work area; placed slots only
}

// An arg names a call's argument before its memory is known.
type arg struct {
	slot  int // index into program.slots, or -1: absent
	shift int64
}

// A program is a graph lowered to kernel calls: everything but the addresses.
type program struct {
	backend *Backend
	graph   *graph.Graph
	calls   []kernels.Call
	args    [][kernels.MaxArgs]arg
	phases  []backend.Phase // of each call
	slots   []slot
	exports []graph.ID // values whose memory is bound from outside: outputs, and those kept for the backward pass
	work    int64      // bytes of the work area
	slotOf  []int      // of each graph value
}

// Compile lowers g to kernel calls.
func (b *Backend) Compile(g *graph.Graph, keep []graph.ID, exact bool) (backend.Program, error) {
	p, err := lower(g, keep, exact)
	if err != nil {
		return nil, err
	}
	p.backend = b
	return p, nil
}

// Graph is the graph that was lowered.
func (p *program) Graph() *graph.Graph { return p.graph }

// Work is the size of the work area, bytes.
func (p *program) Work() int64 { return p.work }

// Run binds the calls and runs them in one crossing into C.
func (p *program) Run(ctx context.Context, bind *backend.Binding) error {
	b := p.backend
	if b.closed {
		return fmt.Errorf("cpu: run: backend %w", bindings.ErrClosed)
	}
	if b.pool == nil {
		var err error
		if b.pool, err = ggml.NewPool(b.threads); err != nil {
			return err
		}
	}
	calls, err := p.bind(b.calls[:0], bind)
	if err != nil {
		return err
	}
	b.calls = calls
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if bind.Profile == nil {
		return b.pool.Run(calls, nil)
	}
	times := make([]int64, len(calls))
	if err := b.pool.Run(calls, times); err != nil {
		return err
	}
	for i := range times {
		bind.Profile[p.phases[i]] += time.Duration(times[i])
	}
	return nil
}

// bind appends p's calls to dst with their addresses filled in.
func (p *program) bind(dst []kernels.Call, bind *backend.Binding) ([]kernels.Call, error) {
	type place struct {
		p   unsafe.Pointer
		row int64
	}
	b := p.backend
	places := make([]place, len(p.slots))
	for i := range p.slots {
		sl := &p.slots[i]
		if sl.first < 0 { // no call touches it
			continue
		}
		at := bind.Work.Add(sl.offset)
		if sl.value >= 0 {
			at = bind.Of(sl.value, p.graph.Value(sl.value))
		}
		n := sl.bytes
		if sl.value >= 0 && p.graph.Value(sl.value).Kind == graph.Weight {
			n = 0 // in its storage type: what a call reads of it is checked with the call
		}
		if _, err := b.HostBytes(at, n); err != nil {
			return dst, err
		}
		k := &b.blocks[at.Mem-1]
		places[i] = place{unsafe.Add(k.p, at.At), k.row}
	}
	for k := range p.calls {
		c := p.calls[k]
		for j := range int(c.NArgs) {
			a := p.args[k][j]
			if a.slot < 0 {
				continue
			}
			c.A[j].Data = unsafe.Add(places[a.slot].p, a.shift)
			if c.A[j].Nb1 == 0 {
				c.A[j].Nb1, c.A[j].Nb2 = places[a.slot].row, places[a.slot].row*c.A[j].Ne1
			}
		}
		dst = append(dst, c)
	}
	return dst, nil
}
