package engine_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/delta"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
	"github.com/ggtune/ggtune/engine/synth"
)

// kinds are all of package delta, one of each; a kind that is missing here is a fault.
var kinds []delta.Delta

// kind adds some to kinds: those of a file of package delta in a test file of their own.
func kind(some ...delta.Delta) bool {
	kinds = append(kinds, some...)
	return true
}

var _ = kind(delta.LoRA{Rank: 4, Scale: 0.5}, delta.LoRARows{Rank: 4, Scale: 0.5},
	delta.LoRA{Rank: 4, Scale: 0.5, FixedA: true}, delta.LoRARows{Rank: 4, Scale: 0.5, FixedA: true},
	delta.DoRA{Rank: 4, Scale: 0.5}, delta.IA3{}, delta.VeRA{Rank: 8})

// TestEveryKindIsTried finds the kinds in the source: the types that have parameters.
func TestEveryKindIsTried(t *testing.T) {
	files, err := filepath.Glob("delta/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no source of package delta: %v", err)
	}
	tried := map[string]bool{}
	for _, d := range kinds {
		tried[reflect.TypeOf(d).Name()] = true
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			m, ok := decl.(*ast.FuncDecl)
			if !ok || m.Recv == nil || m.Name.Name != "Params" {
				continue
			}
			if name := strings.TrimPrefix(fmt.Sprint(m.Recv.List[0].Type), "*"); !tried[name] {
				t.Errorf("%s: delta.%s is not among the kinds tried", file, name)
			}
		}
	}
}

// TestKinds: each kind, wherever it may stand, is a comparable value whose every parameter has the gradient that finite
// differences give: joined, and alone under dropout.
func TestKinds(t *testing.T) {
	spec := synth.Tiny("llama", gguf.F32)
	for _, d := range kinds {
		for _, dropout := range []float64{0, 0.25} {
			t.Run(fmt.Sprintf("%T %+[1]v/dropout %g", d, dropout), func(t *testing.T) {
				if !reflect.TypeOf(d).Comparable() {
					t.Fatal("no stage can be found by it: it cannot be compared")
				}
				m, err := engine.Open(synth.Temp(t, spec))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { m.Close() }) // after the session
				r := alone(t, m, engine.Set{Adapter: everywhere(m, d), Dropout: dropout})
				row, _ := tree(spec.Vocab)
				b := batch(row, chain(tokens(8, 13, spec.Vocab)))
				_, grads := r.pass(b, nil)
				if len(r.Params()) == 0 {
					t.Fatal("it may stand nowhere")
				}
				for _, p := range r.Params() {
					// DoRA's norm counts as a constant in the derivative, and moves with the pair in a difference: see
					// TestRecordedKinds.
					if _, ok := d.(delta.DoRA); !ok || p.Group == delta.Magnitude {
						r.checkDirection(b, p, grads[p.Name])
					}
				}
			})
		}
	}
}

// everywhere puts a delta beside every weight that it may stand beside, with random numbers.
func everywhere(m *engine.Model, d delta.Delta) (out fixed) {
	random := rand.New(rand.NewPCG(5, 6))
	_, rows := d.(delta.Rows)
	_, linear := d.(delta.Linear)
	_, head := d.(delta.Head)
	m.Net().Linear(func(p arch.Part, il int) {
		fits := linear
		switch p.Role {
		case arch.TokenEmbd:
			fits = rows
		case arch.Output:
			fits = head
		}
		if !fits {
			return
		}
		placed := delta.Placed{Delta: d, Tensor: p.Name(il), Weight: graph.Matrix(p.Shape[0], p.Shape[1])}
		for _, q := range d.Params(placed.Weight) {
			v := make([]float32, q.Shape.Elements())
			for i := range v {
				v[i] = float32(random.NormFloat64() * 0.1)
				switch q.Name { // about what they begin as: else there is hardly a slope
				case delta.Vector:
					v[i]++
				case delta.Magnitude, delta.Norm:
					v[i] += 3
				}
			}
			placed.Values = append(placed.Values, v)
		}
		out = append(out, placed)
	})
	return out
}

// A fixed list of deltas.
type fixed []delta.Placed

func (f fixed) Deltas() []delta.Placed { return f }

// TestOtherKinds: a session trains a kind of delta that it has never heard of, beside an adapter.
func TestOtherKinds(t *testing.T) {
	spec := synth.Tiny("llama", gguf.F32)
	var mix fixed
	r := newRig(t, spec, func(c *setup, _ *adapter.Config) {
		for _, role := range []arch.Role{arch.AttnQ, arch.FFNUp} {
			n := map[arch.Role]int{arch.AttnQ: spec.Embd, arch.FFNUp: spec.FF}[role]
			m := make([]float32, n*n) // near the identity
			for i := range m {
				m[i] = float32(math.Sin(float64(i))) * 0.02
				if i%(n+1) == 0 {
					m[i]++
				}
			}
			mix = append(mix, delta.Placed{Delta: mixed{}, Tensor: arch.TensorName(role, ".weight", 1),
				Weight: graph.Matrix(int64(spec.Embd), int64(n)), Values: [][]float32{m}})
		}
		c.Sets = []engine.Set{{Name: "mix", Adapter: mix}}
	})
	b := batch(chain(tokens(1, 17, spec.Vocab)))
	_, grads := r.pass(b, nil)
	checked := 0
	for _, p := range r.Params() {
		if p.Group == "mix" {
			r.checkDirection(b, p, grads[p.Name])
			checked++
		}
	}
	if checked != len(mix) {
		t.Errorf("%d parameters of the other kind, want %d", checked, len(mix))
	}
}
