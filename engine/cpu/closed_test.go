package cpu_test

import (
	"context"
	"errors"
	"testing"

	"github.com/ggtune/ggtune/bindings"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/cpu"
	"github.com/ggtune/ggtune/engine/graph"
)

// TestClosed: of a closed backend nothing can be read, written, given or run, and what is freed late is freed already.
func TestClosed(t *testing.T) {
	b, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	f, err := backend.NewFloats(b, 4)
	if err != nil {
		t.Fatal(err)
	}
	g := &graph.Graph{}
	g.Output(g.Squares(g.Bound(graph.Value{Name: "x", Kind: graph.Input, Shape: graph.Matrix(4, 1), Ref: graph.None})))
	p, err := b.Compile(g, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	_, read := f.All()
	_, host := f.Host()
	_, alloc := b.Alloc(4)
	for what, err := range map[string]error{"download": read, "host": host, "upload": f.Upload(make([]float32, 4), 0),
		"zero": f.Zero(), "alloc": alloc, "run": p.Run(context.Background(), &backend.Binding{})} {
		if !errors.Is(err, bindings.ErrClosed) {
			t.Errorf("%s: got %v, want that the backend is closed", what, err)
		}
	}
	b.Free(f.At.Mem)
}

// TestFreeTwice: a handle may be another block's by the time it is freed again, so it panics while nobody has it.
func TestFreeTwice(t *testing.T) {
	b, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	weight, err := b.Hold(backend.Weight{Shape: graph.Matrix(1, 1), Row: 4, Data: make([]byte, 4)})
	if err != nil {
		t.Fatal(err)
	}
	memory, err := b.Alloc(64)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []backend.Mem{weight, memory} {
		b.Free(m)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("block %d was freed twice", m)
				}
			}()
			b.Free(m)
		}()
	}
	if b.Bytes() != 0 {
		t.Errorf("%d bytes are left", b.Bytes())
	}
}
