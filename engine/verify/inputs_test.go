package verify_test

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/ggtune/ggtune/bindings/llama/reference"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/engine/verify"
)

// inputs are sums of squares by element, and numbers of vectors, of one matrix after the other.
type inputs struct {
	squares []float64
	counts  []int64
}

// inputsOf sums up the squares of what our engine multiplies each matrix of the layers with, by tensor and element.
func inputsOf(t *testing.T, path string, cfg engine.SessionConfig, tokens []int32) (map[string]*inputs, []float32) {
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
	n, says := len(tokens), m.Says()
	row := engine.Row{Tokens: tokens, Segments: []engine.Segment{{Len: n, Parent: -1}}}
	if says == engine.Pooled {
		row.Pooled = []int32{0}
	} else {
		row.Counted = []int32{int32(n - 1)}
	}
	batch := engine.Batch{Rows: []engine.Row{row}}
	plain, err := s.Forward(context.Background(), &batch, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]*inputs{}
	out, err := s.Forward(context.Background(), &batch, engine.Options{
		Inputs: func(in engine.Input) error {
			starts := in.Starts
			if starts == nil {
				starts = []int32{0, int32(n)}
			}
			experts := len(starts) - 1
			row := len(in.X) / int(starts[experts])
			sum := &inputs{make([]float64, experts*row), make([]int64, experts)}
			for e := range experts {
				for i, v := range in.X[int(starts[e])*row : int(starts[e+1])*row] {
					sum.squares[e*row+i%row] += float64(v) * float64(v)
				}
				sum.counts[e] = int64(starts[e+1] - starts[e])
			}
			sums[arch.TensorName(in.Role, ".weight", in.Layer)] = sum
			return nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := plain[says], out[says]; !slices.Equal(a, b) {
		t.Errorf("who listens changes what is computed: %v, and %v without", b, a)
	}
	return sums, out[says]
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
				spec := synth.Tiny(name, tc.typ)
				if !tc.exact {
					spec = spec.AllExperts()
				}
				path := verify.NeedLlama(t, synth.Temp(t, spec))
				want, err := reference.Activations(path, tokens)
				if err != nil {
					t.Fatal(err)
				}
				got, _ := inputsOf(t, path, engine.SessionConfig{Threads: 1, Exact: tc.exact}, tokens)
				delete(want, "output.weight") // no layer's
				delete(want, "token_embd.weight")
				if len(got) != len(want) || len(got) == 0 {
					t.Errorf("got %d matrices, want %d", len(got), len(want))
				}
				for name, w := range want {
					g := got[name]
					if g == nil || len(g.squares) != len(w.Squares) || !slices.Equal(g.counts, w.Counts) {
						t.Errorf("%s: got %+v, want %d elements of %v vectors", name, g, len(w.Squares), w.Counts)
						continue
					}
					var diff, sum float64
					for i, x := range w.Squares {
						diff += (g.squares[i] - float64(x)) * (g.squares[i] - float64(x))
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
