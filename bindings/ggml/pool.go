// Package ggml knows how to run kernel calls on ggml's thread pool, ggml's storage types, and memory outside Go's heap.
// It does not know models: what is computed, and in which order, its callers say.
package ggml

/*
#cgo CXXFLAGS: -std=c++17 -O2 -Wall -Wextra
#include "pool.h"
*/
import "C"

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/ggtune/ggtune/bindings"
	"github.com/ggtune/ggtune/bindings/kernels"
)

// MaxThreads is the most threads a Pool has: the size of ggml's affinity mask.
const MaxThreads = 512

// A Pool is a set of ggml's threads that run kernel calls together, as a custom operator of a ggml graph. Between runs
// the threads sleep.
//
// Run may be called by one goroutine at a time, which a mutex enforces; Stop by any.
type Pool struct {
	mu      sync.Mutex
	ptr     *C.gt_pool
	threads int
	status  C.gt_status
	begin   []int64
	cleanup runtime.Cleanup

	stopMu sync.Mutex // guards stop, not what it points to: Stop must not wait for Run
	stop   *int32
}

// NewPool starts a pool of threads threads, 1 to MaxThreads, of which the goroutine that calls Run is one. Close it.
func NewPool(threads int) (*Pool, error) {
	if threads < 1 || threads > MaxThreads {
		return nil, fmt.Errorf("thread pool: %d threads: want 1 to %d", threads, MaxThreads)
	}
	p := &Pool{threads: threads}
	if C.gt_pool_new(C.int(threads), &p.ptr, &p.status) != C.GT_OK {
		return nil, statusError(fmt.Sprintf("thread pool of %d threads", threads), &p.status)
	}
	p.stop = (*int32)(unsafe.Pointer(C.gt_pool_stop_flag(p.ptr)))
	p.cleanup = runtime.AddCleanup(p, func(ptr *C.gt_pool) { C.gt_pool_free(ptr) }, p.ptr)
	return p, nil
}

// Threads returns the number of threads.
func (p *Pool) Threads() int { return p.threads }

// Run computes the calls in the order given, each by all threads and none before the one before it is done, in one
// crossing into C. Every call is checked first; if one is refused nothing is run and the error names its index.
//
// calls and what it points to is borrowed; the arguments' data must be C memory (an Arena's, a mapping's) or pinned.
//
// If timings is not nil it must be as long as calls and receives the nanoseconds from the beginning of each call to the
// beginning of the next (the wait for the slowest thread included), so that they add up to the whole.
//
// After Stop the error matches bindings.ErrAborted, and an unknown number of calls at the end were not run.
func (p *Pool) Run(calls []kernels.Call, timings []int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ptr == nil {
		return fmt.Errorf("run on a thread pool: %w", bindings.ErrClosed)
	}
	if len(calls) == 0 {
		return nil
	}
	var begin *C.int64_t
	if timings != nil {
		if len(timings) != len(calls) {
			return fmt.Errorf("run on a thread pool: room for %d timings, want one for each of %d calls", len(timings),
				len(calls))
		}
		if len(p.begin) <= len(calls) {
			p.begin = make([]int64, len(calls)+1)
		}
		begin = (*C.int64_t)(unsafe.Pointer(&p.begin[0]))
	}
	var bad C.int64_t
	code := C.gt_pool_run(p.ptr, (*C.gt_call)(unsafe.Pointer(&calls[0])), C.int64_t(len(calls)), begin, &bad, &p.status)
	if code != C.GT_OK {
		if bad >= 0 {
			return statusError(fmt.Sprintf("call %d of %d, operation %d", bad, len(calls), calls[bad].Op), &p.status)
		}
		return statusError(fmt.Sprintf("run %d calls", len(calls)), &p.status)
	}
	for i := range timings {
		timings[i] = p.begin[i+1] - p.begin[i]
	}
	return nil
}

// Stop ends the run under way after the call it is at, or, where there is none, makes the next run end after its first
// call. A run that is at its last call is not stopped; the next one is. Stop does not wait. It is safe for concurrent
// use and after Close.
func (p *Pool) Stop() {
	p.stopMu.Lock()
	defer p.stopMu.Unlock()
	if p.stop != nil {
		atomic.StoreInt32(p.stop, 1)
	}
}

// Close waits for the run under way and ends the threads. It may be called again and on nil.
func (p *Pool) Close() error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ptr == nil {
		return nil
	}
	p.stopMu.Lock()
	p.stop = nil
	p.stopMu.Unlock()
	p.cleanup.Stop()
	C.gt_pool_free(p.ptr)
	p.ptr = nil
	return nil
}

func statusError(op string, st *C.gt_status) error {
	return &bindings.Error{Op: op, Code: bindings.Code(st.code), Message: C.GoString(&st.message[0])}
}
