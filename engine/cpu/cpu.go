package cpu

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/ggtune/ggtune/bindings"
	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
)

// A Backend is the processor with some of its threads.
type Backend struct {
	threads int
	pool    *ggml.Pool // nil until something runs
	arena   *ggml.Arena
	blocks  []block // by handle − 1
	free    []backend.Mem
	calls   []kernels.Call
	closed  bool
}

// A block is memory of the arena, or a weight in its mapped file.
type block struct {
	p     unsafe.Pointer
	bytes int64
	row   int64 // a weight's, bytes; 0 for memory of the arena
	taken bool  // not free
}

var (
	_ backend.Backend = (*Backend)(nil)
	_ backend.Host    = (*Backend)(nil)
)

// New gives a backend of that many threads, 1 to ggml.MaxThreads. They start when something runs. Close it.
func New(threads int) (*Backend, error) {
	if threads < 1 || threads > ggml.MaxThreads {
		return nil, fmt.Errorf("cpu: %d threads: want 1 to %d", threads, ggml.MaxThreads)
	}
	return &Backend{threads: threads, arena: ggml.NewArena()}, nil
}

// Name is "cpu".
func (b *Backend) Name() string { return "cpu" }

// Check refuses operations that no call is known for.
func (b *Backend) Check(g *graph.Graph) error {
	for i := range g.Nodes {
		if emitters[g.Nodes[i].Op].calls == nil {
			return fmt.Errorf("cpu: operation %v is not known", g.Nodes[i].Op)
		}
	}
	return nil
}

// Hold uses the weight where it lies.
func (b *Backend) Hold(w backend.Weight) (backend.Mem, error) {
	return b.add(block{p: unsafe.Pointer(unsafe.SliceData(w.Data)), bytes: int64(len(w.Data)), row: w.Row}), nil
}

// Alloc gives memory outside Go's heap.
func (b *Backend) Alloc(bytes int64) (backend.Mem, error) {
	p, err := b.arena.Bytes(bytes)
	if err != nil {
		return 0, err
	}
	return b.add(block{p: unsafe.Pointer(unsafe.SliceData(p)), bytes: bytes}), nil
}

func (b *Backend) add(k block) backend.Mem {
	k.taken = true
	if n := len(b.free); n > 0 {
		m := b.free[n-1]
		b.free = b.free[:n-1]
		b.blocks[m-1] = k
		return m
	}
	b.blocks = append(b.blocks, k)
	return backend.Mem(len(b.blocks))
}

// Free gives a block back. It panics for one that was freed before: by now another may have its handle.
func (b *Backend) Free(m backend.Mem) {
	if m == 0 || b.closed {
		return
	}
	k := &b.blocks[m-1]
	if !k.taken {
		panic(fmt.Sprintf("cpu: block %d is freed twice", m))
	}
	if k.row == 0 && k.bytes > 0 {
		b.arena.Free(k.p)
	}
	*k = block{}
	b.free = append(b.free, m)
}

// HostBytes is the memory of n bytes at a place.
func (b *Backend) HostBytes(at backend.Place, n int64) ([]byte, error) {
	if b.closed {
		return nil, fmt.Errorf("cpu: memory: backend %w", bindings.ErrClosed)
	}
	if at.Mem == 0 || int(at.Mem) > len(b.blocks) {
		return nil, fmt.Errorf("cpu: no block has handle %d", at.Mem)
	}
	k := &b.blocks[at.Mem-1]
	if at.At < 0 || n < 0 || at.At+n > k.bytes {
		return nil, fmt.Errorf("cpu: bytes %d to %d of a block of %d", at.At, at.At+n, k.bytes)
	}
	return unsafe.Slice((*byte)(unsafe.Add(k.p, at.At)), n), nil
}

// Upload copies src to a place.
func (b *Backend) Upload(dst backend.Place, src []byte) error {
	to, err := b.HostBytes(dst, int64(len(src)))
	copy(to, src)
	return err
}

// Download copies from a place to dst.
func (b *Backend) Download(dst []byte, src backend.Place) error {
	from, err := b.HostBytes(src, int64(len(dst)))
	copy(dst, from)
	return err
}

// Zero clears bytes at a place.
func (b *Backend) Zero(at backend.Place, bytes int64) error {
	p, err := b.HostBytes(at, bytes)
	clear(p)
	return err
}

// Bytes is the memory in use beside the weights.
func (b *Backend) Bytes() int64 { return b.arena.InUse() }

// Close ends the threads and frees the memory.
func (b *Backend) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	return errors.Join(b.pool.Close(), b.arena.Close())
}
