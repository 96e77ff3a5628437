package verify_test

import (
	"context"
	"math"
	"testing"

	"github.com/ggtune/ggtune/bindings/llama/reference"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// inputsOf sums up the squares of what our engine multiplies each matrix of the layers with, by tensor and element.
func inputsOf(t *testing.T, path string, cfg engine.SessionConfig, tokens []int32) (map[string][]float64, []float32) {
	t.Helper()
	m, err := engine.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := engine.NewSession(m, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	n := len(tokens)
	batch := engine.Batch{Rows: []engine.Row{{Tokens: tokens, Counted: []int32{int32(n - 1)},
		Segments: []engine.Segment{{Len: n, Parent: -1}}}}}
	plain, err := s.Forward(context.Background(), &batch, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string][]float64{}
	out, err := s.Forward(context.Background(), &batch, engine.Options{
		Inputs: func(il int, role arch.Role, x []float32) error {
			name := arch.TensorName(role, ".weight", il)
			row := len(x) / n
			if sums[name] == nil {
				sums[name] = make([]float64, row)
			}
			for i, v := range x {
				sums[name][i%row] += float64(v) * float64(v)
			}
			return nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := plain[engine.LogP][0], out[engine.LogP][0]; a != b {
		t.Errorf("who listens changes what is computed: %v, and %v without", b, a)
	}
	return sums, out[engine.LogP]
}

// What matrices are multiplied with is what llama.cpp multiplies them with: all matrices of all layers, and no others.
func TestInputsAsLlamaCpp(t *testing.T) {
	tokens := make([]int32, 40)
	for i := range tokens {
		tokens[i] = int32(5 + 7*i%250)
	}
	for _, name := range arch.Names() {
		for _, tc := range []struct {
			typ   gguf.Type
			exact bool
			// Of the relative difference of a sum of squares, root mean square over a matrix: measured at most 3e-4
			// (gpt2, whose GELU llama.cpp reads from a table of f16), and 0.02 where both round activations to 8 bits.
			limit float64
		}{{gguf.F32, true, 1e-3}, {gguf.Q8_0, false, 0.05}} {
			t.Run(name+" "+tc.typ.String(), func(t *testing.T) {
				path := synth.Temp(t, synth.Tiny(name, tc.typ))
				want, err := reference.Activations(path, tokens)
				if err != nil {
					t.Fatal(err)
				}
				got, _ := inputsOf(t, path, engine.SessionConfig{Threads: 2, Exact: tc.exact}, tokens)
				delete(want, "output.weight") // no layer's
				delete(want, "token_embd.weight")
				if len(got) != len(want) || len(got) == 0 {
					t.Errorf("got %d matrices, want %d", len(got), len(want))
				}
				for name, w := range want {
					g := got[name]
					if len(g) != len(w.Squares) || w.Count != int64(len(tokens)) {
						t.Errorf("%s: got %d elements, want %d of %d vectors", name, len(g), len(w.Squares), w.Count)
						continue
					}
					var diff, sum float64
					for i, x := range w.Squares {
						diff += (g[i] - float64(x)) * (g[i] - float64(x))
						sum += float64(x) * float64(x)
					}
					if e := math.Sqrt(diff / sum); !(e < tc.limit) {
						t.Errorf("%s: differs by %.2g of its size, want below %g", name, e, tc.limit)
					} else {
						t.Logf("%s: %.2g", name, e)
					}
				}
			})
		}
	}
}
