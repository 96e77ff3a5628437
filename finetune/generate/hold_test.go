package generate

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/engine/verify"
)

// shaken is an adapter of every linear role of a model, with random numbers that change what the model says.
func shaken(t *testing.T, model string, seed uint64) *adapter.Adapter {
	t.Helper()
	m, err := engine.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	targets := []string{"all-linear"}
	if !m.Net().TiedOutput {
		targets = append(targets, "output", "token_embd")
	}
	a, err := adapter.New(m.Net(), adapter.Config{Rank: 2, Alpha: 4, Init: "gaussian", Targets: targets, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	a.Halves(func(_ string, values []float32) {
		for i := range values {
			values[i] = float32(rng.NormFloat64())
		}
	})
	return a
}

// Of every architecture that generates, an adapter that is held writes what it writes from a file, again after its
// numbers have changed, and one of nothing writes what the base does.
func TestHoldEqualsFile(t *testing.T) {
	by := llama.Greedy() // but by chance, for the likeliest token of some generated models is the last one again
	by.Temp, by.Seed = 1, 7
	for _, name := range arch.Predicting() {
		t.Run(name, func(t *testing.T) {
			model := verify.NeedLlama(t, synth.Temp(t, synth.Tiny(name, gguf.F32)))
			g, err := Open(Config{Model: model, Ctx: 64, Threads: 1, Lean: true})
			if err != nil {
				t.Skip(err) // it does not predict text
			}
			defer g.Close()
			prompt := []int32{5, 6, 7, 8}
			base := writeBy(t, g, prompt, 12, by).Text
			last := base
			for seed := range uint64(3) {
				a := shaken(t, model, seed)
				if err := g.Hold(t.Context(), a); err != nil {
					t.Fatal(err)
				}
				got := writeBy(t, g, prompt, 12, by).Text
				file := filepath.Join(t.TempDir(), "adapter.gguf")
				if err := a.Save(t.Context(), nil, file); err != nil {
					t.Fatal(err)
				}
				want := writeBy(t,
					open(t, Config{Model: model, Ctx: 64, Lean: true, Adapters: []Adapter{{Path: file, Scale: 1}}}),
					prompt, 12, by).Text
				if got != want {
					t.Errorf("seed %d: got %q, want what the file writes, %q", seed, got, want)
				}
				if got == last {
					t.Errorf("seed %d: other numbers write the same, %q: the test proves nothing", seed, got)
				}
				last = got
			}
			if err := g.Hold(t.Context(), shaken(t, model, 9).Nothing()); err != nil {
				t.Fatal(err)
			}
			if got := writeBy(t, g, prompt, 12, by).Text; got != base {
				t.Errorf("an adapter of nothing: got %q, want the base's %q", got, base)
			}
		})
	}
}

func TestHoldStops(t *testing.T) {
	model := tiny(t)
	g := open(t, Config{Model: model, Ctx: 64, Lean: true})
	a := shaken(t, model, 1)
	cause := errors.New("told to stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := g.Hold(ctx, a); !errors.Is(err, cause) {
		t.Errorf("got %v, want the cause", err)
	}
	if err := g.Hold(t.Context(), a); err != nil { // it can be told again
		t.Fatal(err)
	}
	if err := g.Hold(ctx, a); !errors.Is(err, cause) {
		t.Errorf("the second time: got %v, want the cause", err)
	}
	if err := g.Hold(t.Context(), shaken(t, model, 2)); err != nil {
		t.Fatal(err)
	}
	if err := g.Use(Base); err == nil {
		t.Error("Use beside an adapter that is held: got no error")
	}
}
