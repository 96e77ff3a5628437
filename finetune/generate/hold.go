package generate

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/internal/memfile"
)

// SetThreads has n of the threads in the Config compute, 1 or more.
func (g *Generator) SetThreads(n int) error { return g.context.SetThreads(n) }

// Hold makes the model write with an adapter as it is now, which no file need hold. The first time it is loaded,
// through memory, in place of whatever is in use; after that, where only its numbers may have changed, they are put
// over the old ones. What was read before is forgotten. When ctx is done it returns its cause. A Generator that holds
// an adapter uses no other.
func (g *Generator) Hold(ctx context.Context, a *adapter.Adapter) error {
	g.read = nil
	if g.held != nil {
		var halves []llama.Tensor
		a.Halves(func(name string, values []float32) {
			halves = append(halves, llama.Tensor{Name: name, Values: values})
		})
		return g.context.Overwrite(ctx, halves)
	}
	f, err := memfile.Write(func(w io.Writer) error { return a.Write(ctx, w) })
	if err != nil {
		return err
	}
	defer f.Close()
	held, err := verify.LoadAdapter(g.model, f.Path())
	if err != nil {
		return fmt.Errorf("hold the adapter in training: %w", err)
	}
	if err := g.context.SetAdapters([]*llama.Adapter{held}, []float32{1}); err != nil {
		return errors.Join(err, held.Close())
	}
	g.held, g.heldInvocation, g.inUse = held, a.Invocation, Base
	return nil
}
