package generate

import (
	"context"
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/bindings"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/quant"
)

// A notFinite is bindings.ErrNotFinite in the words of its reason.
type notFinite struct{ error }

// Unwrap gives the reason.
func (e notFinite) Unwrap() error { return e.error }

// Is says that it is bindings.ErrNotFinite.
func (notFinite) Is(target error) bool { return target == bindings.ErrNotFinite }

// notFinite says why a prediction was no number: the adapter in use or the model holds a weight that is none, or
// weights so large that what is computed with them leaves the range of numbers. It reads the weights, which takes
// seconds for a large model.
func (g *Generator) notFinite(ctx context.Context) error {
	model := g.model.Path()
	tensor, size, err := largest(ctx, model)
	if g.inUse == Base || err != nil {
		if g.held != nil && err == nil {
			return errors.New("with the adapter as it is now, the model computes no numbers; train with a lower " +
				"learning rate (--lr)")
		}
		if err == nil {
			err = fmt.Errorf("%s: its weights lead beyond the range of numbers; the largest is %.3g, in tensor %q; "+
				"get the model again, "+
				"or look at it with ggtune check", model, size, tensor)
		}
		return err
	}
	a := g.adapters[g.inUse]
	if tensor, size, err = largest(ctx, a.Path()); err != nil {
		return err
	}
	return fmt.Errorf("%s: scaled by %g, the adapter leads beyond the range of numbers; its largest weight is %.3g, "+
		"in tensor %q; lower "+
		"--scale, or try without it", a.Path(), a.scale, size, tensor)
}

func largest(ctx context.Context, path string) (string, float32, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	return quant.Largest(ctx, f)
}
