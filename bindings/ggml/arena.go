package ggml

/*
#include <stdlib.h>
#include <string.h>
#ifndef _WIN32
#include <sys/mman.h>
#endif

// From this size on a block is a mapping of its own: its pages count only once they are touched, arrive zeroed, and go
// back to the system when it is freed. Below it, the 4 KiB a mapping rounds up to would be a waste.
#define GT_MAPPED (1 << 20)

static void * gt_alloc(size_t n) {
#ifdef _WIN32
	void * p = _aligned_malloc(n, 64);
	return p ? memset(p, 0, n) : NULL;
#else
	void * p = NULL;
	if (n >= GT_MAPPED) {
		p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
		return p == MAP_FAILED ? NULL : p;
	}
	return posix_memalign(&p, 64, n) == 0 ? memset(p, 0, n) : NULL;
#endif
}

static void gt_release(void * p, size_t n) {
#ifdef _WIN32
	_aligned_free(p);
#else
	if (n >= GT_MAPPED) {
		munmap(p, n);
	} else {
		free(p);
	}
#endif
}
*/
import "C"

import (
	"fmt"
	"math"
	"sync"
	"unsafe"

	"github.com/ggtune/ggtune/bindings"
)

// Alignment is the alignment of an Arena's blocks in bytes: a cache line, and the widest vector register.
const Alignment = 64

// An Arena owns blocks of memory outside Go's heap, zeroed and aligned to 64 bytes, which kernels may read and write
// while Go's collector runs. All of them are freed together by Close, or one by one by Free; a slice into one must not
// be used afterwards. There is no clean-up by the collector: slices hold no reference to their Arena, so nothing but
// its owner knows when the last is gone.
//
// An Arena is safe for concurrent use.
type Arena struct {
	mu     sync.Mutex
	blocks map[unsafe.Pointer]int64 // block → bytes
	bytes  int64
	peak   int64
	closed bool
}

// NewArena returns an empty Arena. Close it.
func NewArena() *Arena { return &Arena{blocks: map[unsafe.Pointer]int64{}} }

// Bytes returns a new zeroed block of n bytes. Of 0 bytes it returns an empty slice, and no block.
func (a *Arena) Bytes(n int64) ([]byte, error) {
	if n < 0 || n > math.MaxInt-Alignment {
		return nil, fmt.Errorf("allocate %d bytes: no such size", n)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, fmt.Errorf("allocate %d bytes: arena %w", n, bindings.ErrClosed)
	}
	if n == 0 {
		return []byte{}, nil
	}
	p := C.gt_alloc(C.size_t(n))
	if p == nil {
		return nil, fmt.Errorf("allocate %d bytes, with %d in use: %w", n, a.bytes, bindings.ErrNoMemory)
	}
	a.blocks[p] = n
	a.bytes += n
	a.peak = max(a.peak, a.bytes)
	return unsafe.Slice((*byte)(p), n), nil
}

// Float32s returns a new zeroed block of n numbers.
func (a *Arena) Float32s(n int) ([]float32, error) {
	if n < 0 || n > math.MaxInt/4-Alignment {
		return nil, fmt.Errorf("allocate %d float32: no such size", n)
	}
	b, err := a.Bytes(int64(n) * 4)
	if err != nil || n == 0 {
		return nil, err
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), n), nil
}

// Int32s returns a new zeroed block of n numbers.
func (a *Arena) Int32s(n int) ([]int32, error) {
	if n < 0 || n > math.MaxInt/4-Alignment {
		return nil, fmt.Errorf("allocate %d int32: no such size", n)
	}
	b, err := a.Bytes(int64(n) * 4)
	if err != nil || n == 0 {
		return nil, err
	}
	return unsafe.Slice((*int32)(unsafe.Pointer(&b[0])), n), nil
}

// Free frees the block that begins at p, one that this Arena returned; nil does nothing. It panics if p begins no block
// of this Arena: what p does point to would be freed under somebody else's hands.
func (a *Arena) Free(p unsafe.Pointer) {
	if p == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	n, ok := a.blocks[p]
	if !ok {
		panic(fmt.Sprintf("ggml.Arena.Free: %p begins no block of this arena", p))
	}
	delete(a.blocks, p)
	a.bytes -= n
	C.gt_release(p, C.size_t(n))
}

// InUse returns the bytes allocated and not freed.
func (a *Arena) InUse() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bytes
}

// Peak returns the most bytes that were in use at once.
func (a *Arena) Peak() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.peak
}

// Close frees every block. It may be called again and on nil; later allocations return bindings.ErrClosed.
func (a *Arena) Close() error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for p, n := range a.blocks {
		C.gt_release(p, C.size_t(n))
	}
	a.blocks, a.bytes, a.closed = map[unsafe.Pointer]int64{}, 0, true
	return nil
}
