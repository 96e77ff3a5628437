package ggml

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/bindings"
	"github.com/ggtune/ggtune/bindings/kernels"
)

func vec(f []float32) kernels.Arg {
	return kernels.Matrix(unsafe.Pointer(&f[0]), kernels.F32, int64(len(f)), 1, int64(4*len(f)))
}

// add is the call out = a + f·b.
func add(out, a, b []float32, f float64) kernels.Call {
	return kernels.OpAdd.Call(kernels.AddConstants{Factor: f}, vec(out), vec(a), vec(b))
}

func newPool(t *testing.T, threads int) *Pool {
	t.Helper()
	p, err := NewPool(threads)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func newArena(t *testing.T) *Arena {
	t.Helper()
	a := NewArena()
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func floats(t *testing.T, a *Arena, n int) []float32 {
	t.Helper()
	f, err := a.Float32s(n)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The chain x = 2x + 1 (as x+x, then x+one) depends on its order at every step, so any reordering or missing barrier
// shows.
func TestPoolRunsInOrder(t *testing.T) {
	for _, threads := range []int{1, 2, 3} {
		for _, steps := range []int{1, 5, 12, 100} {
			t.Run(fmt.Sprintf("%d threads %d steps", threads, steps), func(t *testing.T) {
				p, a := newPool(t, threads), newArena(t)
				const n = 37
				x, one, want := floats(t, a, n), floats(t, a, n), make([]float32, n)
				for i := range x {
					x[i], one[i] = 0, 1
				}
				var calls []kernels.Call
				v := float32(0)
				for i := range steps {
					// modulo keeps the value exact: above 2²⁴ a float32 cannot count
					if i%10 == 9 {
						calls = append(calls, add(x, x, x, -1))
						v = 0
					} else {
						calls = append(calls, add(x, x, x, 1), add(x, x, one, 1))
						v = 2*v + 1
					}
				}
				for i := range want {
					want[i] = v
				}
				timings := make([]int64, len(calls))
				if err := p.Run(calls, timings); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(x, want); diff != "" {
					t.Errorf("got -, want +:\n%s", diff)
				}
				for i, ns := range timings {
					if ns <= 0 || ns > 60e9 {
						t.Errorf("timing of call %d: %d ns", i, ns)
					}
				}
			})
		}
	}
}

func TestPoolReusesItsMemory(t *testing.T) {
	p, a := newPool(t, 2), newArena(t)
	x, one := floats(t, a, 8), floats(t, a, 8)
	for i := range one {
		one[i] = 1
	}
	total := 0
	for _, n := range []int{3, 200, 1, 0, 65, 64} {
		calls := make([]kernels.Call, n)
		for i := range calls {
			calls[i] = add(x, x, one, 1)
		}
		if err := p.Run(calls, nil); err != nil {
			t.Fatal(err)
		}
		total += n
	}
	if x[7] != float32(total) {
		t.Errorf("got %v, want %d", x[7], total)
	}
}

func TestPoolRefusesABadCall(t *testing.T) {
	p, a := newPool(t, 2), newArena(t)
	x := floats(t, a, 8)
	x[0] = 1
	bad := add(x, x, x[:4], 1)
	err := p.Run([]kernels.Call{add(x, x, x, 1), bad}, nil)
	var e *bindings.Error
	if !errors.As(err, &e) || e.Code != bindings.Invalid || !strings.Contains(e.Op, "call 1 of 2") {
		t.Errorf("got error %v, want one of code Invalid that names call 1 of 2", err)
	}
	if x[0] != 1 {
		t.Errorf("got x[0] = %v, want 1: nothing is run when one call is refused", x[0])
	}
	if err := p.Run([]kernels.Call{{Op: 9999}}, nil); err == nil {
		t.Error("an unknown operation was run")
	}
	if err := p.Run([]kernels.Call{add(x, x, x, 1)}, make([]int64, 2)); err == nil {
		t.Error("timings of the wrong length were taken")
	}
}

func TestPoolStops(t *testing.T) {
	p, a := newPool(t, 2), newArena(t)
	x, one := floats(t, a, 8), floats(t, a, 8)
	for i := range one {
		one[i] = 1
	}
	calls := make([]kernels.Call, 10)
	for i := range calls {
		calls[i] = add(x, x, one, 1)
	}
	p.Stop()
	if err := p.Run(calls, nil); !errors.Is(err, bindings.ErrAborted) {
		t.Errorf("got %v, want ErrAborted", err)
	}
	if x[0] != 1 {
		t.Errorf("%v calls were run, want 1", x[0])
	}
	if err := p.Run(calls, nil); err != nil {
		t.Errorf("the run after a stopped one: %v", err)
	}
	if x[0] != 11 {
		t.Errorf("got %v, want 11", x[0])
	}
}

// Whenever Stop comes, every thread leaves at the same call: otherwise those that stay wait for ever.
func TestPoolStopsAnywhere(t *testing.T) {
	p, a := newPool(t, 3), newArena(t)
	x := floats(t, a, 8)
	calls := make([]kernels.Call, 20)
	for i := range calls {
		calls[i] = add(x, x, x, 0)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 300 {
			p.Stop()
			time.Sleep(20 * time.Microsecond)
		}
	}()
	runs, stopped := 0, 0
	for running := true; running; runs++ {
		select {
		case <-done:
			running = false
		default:
		}
		if err := p.Run(calls, nil); errors.Is(err, bindings.ErrAborted) {
			stopped++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if stopped == 0 {
		t.Errorf("none of %d runs was stopped", runs)
	}
}

func TestPoolClose(t *testing.T) {
	var none *Pool
	if err := none.Close(); err != nil {
		t.Error(err)
	}
	p, err := NewPool(2)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	p.Stop()
	if err := p.Run(nil, nil); !errors.Is(err, bindings.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	for _, n := range []int{0, -1, MaxThreads + 1} {
		if _, err := NewPool(n); err == nil {
			t.Errorf("a pool of %d threads was made", n)
		}
	}
}
