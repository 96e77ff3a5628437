package cpu_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/backend/parity"
	"github.com/ggtune/ggtune/engine/cpu"
	"github.com/ggtune/ggtune/engine/graph"
)

// atLevel is the processor at one instruction-set level, which the kernels know only one of at a time.
type atLevel struct {
	*cpu.Backend
	level kernels.Level
	t     *testing.T
}

func (b atLevel) set() {
	if err := kernels.SetLevel(b.level); err != nil {
		b.t.Fatal(err)
	}
}

func (b atLevel) Name() string { return fmt.Sprintf("cpu at level %v", b.level) }

func (b atLevel) Compile(g *graph.Graph, keep []graph.ID, exact bool) (backend.Program, error) {
	b.set()
	p, err := b.Backend.Compile(g, keep, exact)
	return program{p, b}, err
}

type program struct {
	backend.Program
	b atLevel
}

func (p program) Run(ctx context.Context, bind *backend.Binding) error {
	p.b.set()
	return p.Program.Run(ctx, bind)
}

func newLevel(t *testing.T, l kernels.Level, threads int) backend.Backend {
	b, err := cpu.New(threads)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return atLevel{b, l, t}
}

// TestLevelsAgree holds every level to the portable one.
func TestLevelsAgree(t *testing.T) {
	was := kernels.CurrentLevel()
	t.Cleanup(func() {
		if err := kernels.SetLevel(was); err != nil {
			t.Error(err)
		}
	})
	for _, l := range kernels.Levels() {
		t.Run(l.String(), func(t *testing.T) { parity.Run(t, newLevel(t, kernels.Portable, 1), newLevel(t, l, 3)) })
	}
}
