package engine_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/synth"
)

// TestReady: each parameter is told of once, when its gradient is what it is at the end of the pass, and as early as
// that: what the last layer trains before the first layer's gradients are made.
func TestReady(t *testing.T) {
	for name, change := range map[string]func(*setup, *adapter.Config){
		"lora":      nil,
		"one layer": func(_ *setup, a *adapter.Config) { a.Layers = []int{1} },
		"full":      func(c *setup, _ *adapter.Config) { c.Full = true },
	} {
		t.Run(name, func(t *testing.T) {
			eachArch(t, func(t *testing.T, spec synth.Spec) {
				spec.Tied = true // one tensor at both ends of the model
				r := newRig(t, spec, change)
				b := batch(chain(tokens(1, 9, spec.Vocab)))
				says := r.model.Says()
				n := len(r.forward(b, engine.Options{Backward: true})[says])
				ones := engine.Outputs{says: coefficients(n)}
				var told []*engine.Param
				grads := map[string][]float32{}
				// A parameter of the first layer that has any; a tied embedding has gradients from the head on.
				first := r.Params()[slices.IndexFunc(r.Params(),
					func(p *engine.Param) bool { return strings.HasPrefix(p.Name, "blk.") })]
				early := 0
				err := r.Backward(context.Background(), ones, func(p *engine.Param) error {
					told = append(told, p)
					if grads[p.Name] != nil {
						t.Errorf("%s is told of twice", p.Name)
					}
					grads[p.Name] = numbers(t, p.Grad)
					if !slices.ContainsFunc(numbers(t, first.Grad), func(x float32) bool { return x != 0 }) {
						early++
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				compareGrads(t, grads, r.grads(), 0)
				if len(told) != len(r.Params()) || early == 0 && name != "one layer" {
					t.Errorf("told of %d parameters of %d, %d of them early", len(told), len(r.Params()), early)
				}
			})
		})
	}
}

// TestReadyEnds: an error ends the pass.
func TestReadyEnds(t *testing.T) {
	r := newRig(t, synth.Tiny("llama", 0), nil)
	b := batch(chain(tokens(1, 9, 320)))
	r.forward(b, engine.Options{Backward: true})
	stop, calls := errors.New("stop"), 0
	err := r.Backward(context.Background(), engine.Outputs{engine.LogP: make([]float32, 8)}, func(*engine.Param) error {
		calls++
		return stop
	})
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("got %v after %d calls, want the caller's error after one", err, calls)
	}
}
