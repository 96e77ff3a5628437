//go:build linux

package ggml

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ggtune/ggtune/bindings"
	"github.com/ggtune/ggtune/bindings/kernels"
)

// cut maps n floats of a file, which is then cut to a quarter.
func cut(t *testing.T, n int) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "weights")
	if err := os.WriteFile(path, make([]byte, 4*n), 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0, 4*n, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(b) })
	if err := os.Truncate(path, int64(n)); err != nil {
		t.Fatal(err)
	}
	return b
}

// A file that loses its end while it is mapped fails the calls that read it, on whichever thread, and only those: the
// pool works on.
func TestLostPages(t *testing.T) {
	const n = 1 << 20
	p, a := newPool(t, 3), newArena(t)
	out, in := floats(t, a, n), floats(t, a, n)
	sum := func(x kernels.Arg) error {
		// All threads of the pool share rows, not elements.
		rows := func(x kernels.Arg) kernels.Arg { return kernels.Matrix(x.Data, x.Type, n/64, 64, 4*n/64) }
		c := kernels.OpAdd.Call(kernels.AddConstants{Factor: 1}, rows(vec(out)), rows(vec(in)), rows(x))
		return p.Run([]kernels.Call{c}, nil)
	}
	b := cut(t, n)
	gone := kernels.Matrix(unsafe.Pointer(&b[0]), kernels.F32, n, 1, 4*n)
	if err := sum(gone); !errors.Is(err, bindings.ErrLost) {
		t.Errorf("the kernels: got %v, want ErrLost", err)
	}
	if err := sum(vec(in)); err != nil {
		t.Errorf("the kernels on other memory: %v", err)
	}
	if _, err := Dequantize(F16, cut(t, n), 2*n); !errors.Is(err, bindings.ErrLost) {
		t.Errorf("ggml: got %v, want ErrLost", err)
	}
}
