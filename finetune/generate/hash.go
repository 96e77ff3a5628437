package generate

import (
	"context"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/origin"
)

// origin is that of the adapter in use, or nil.
func (g *Generator) origin() *origin.Origin {
	if g.inUse == Base {
		return nil
	}
	return g.adapters[g.inUse].origin
}

// A sum is a model's hash, computed alongside: a large file takes seconds.
type sum struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when hex and err are there
	hex    string
	err    error
}

func startSum(model string) *sum {
	ctx, cancel := context.WithCancel(context.Background())
	s := &sum{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		f, err := gguf.Open(model)
		if err != nil {
			s.err = err
			return
		}
		defer f.Close()
		s.hex, s.err = f.SHA256(ctx)
	}()
	return s
}

// stop ends the hashing and waits for it; nil will do.
func (s *sum) stop() {
	if s != nil {
		s.cancel()
		<-s.done
	}
}

// ModelSHA256 waits until the model's hash is known. On cancel it returns context.Cause(ctx).
func (g *Generator) ModelSHA256(ctx context.Context) (string, error) {
	if g.sum == nil {
		g.sum = startSum(g.model.Path())
	}
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case <-g.sum.done:
		return g.sum.hex, g.sum.err
	}
}

// BaseNotes waits until the model's hash is known and warns of each adapter that was trained on another base; none if
// all is well, or if the adapters do not say. On cancel it returns context.Cause(ctx).
func (g *Generator) BaseNotes(ctx context.Context) ([]string, error) {
	var notes []string
	for _, a := range g.adapters {
		if a.origin.Base() == "" {
			continue
		}
		got, err := g.ModelSHA256(ctx)
		if err != nil {
			return nil, err
		}
		notes = append(notes, a.origin.Differs(origin.Use{Model: g.model.Path(), ModelSHA256: got})...)
	}
	return notes, nil
}
