// Package parity holds one backend to another: every operation, with its derivatives, on the same numbers. A backend's
// tests call Run; a test walks the operations and fails for one without a case.
//
// It knows no device. Cases of an operation stand in a file named as the operation's in engine/graph.
package parity

import (
	"context"
	"math"
	"runtime"
	"testing"

	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
)

// A Case is a graph. Its outputs, the gradients of its Params and F32 inputs are compared, or, of an optimizer's
// step, its outputs and States.
type Case struct {
	Name  string
	Build func(b *Builder) graph.ID // gives the output
	// Tol bounds the distance in the default mode, whose products round what they multiply; 0 stands for Exact's bound.
	Tol float64
}

// cases are those of all operations.
var cases []Case

// add registers cases.
func add(c ...Case) bool {
	cases = append(cases, c...)
	return true
}

// Exact bounds the distance of F32 products: the root mean square of the differences over that of the reference. Sums
// are ordered differently on each device. Measured: at most 3.7e-7 between the processor's levels.
const Exact = 5e-6

// Rounded bounds the distance where products are of numbers rounded to 8 bits (BF16) on one side. Measured: 4.4e-3.
const Rounded = 1.5e-2

// Run compares candidate with reference, in both modes, with activations kept and computed again.
func Run(t *testing.T, reference, candidate backend.Backend) {
	var pins runtime.Pinner
	t.Cleanup(pins.Unpin)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			for _, m := range []mode{{exact: true, keep: true}, {exact: true}, {keep: true}} {
				want, got := c.run(t, &pins, reference, m), c.run(t, &pins, candidate, m)
				tol := Exact
				if !m.exact && c.Tol != 0 {
					tol = c.Tol
				}
				for name, w := range want {
					if d := distance(got[name], w); !(d <= tol) {
						t.Errorf("%+v: %s lies %.2g from %s, more than %.2g", m, name, d, reference.Name(), tol)
					}
				}
				if len(want) == 0 || len(got) != len(want) {
					t.Errorf("%+v: %d results, %s has %d", m, len(got), reference.Name(), len(want))
				}
			}
		})
	}
}

// A mode is how a case is computed.
type mode struct{ exact, keep bool }

// distance is the root mean square of the differences over that of want.
func distance(got, want []float64) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	var diff, size float64
	for i, w := range want {
		diff += (got[i] - w) * (got[i] - w)
		size += w * w
	}
	if diff == 0 {
		return 0
	}
	return math.Sqrt(diff / size)
}

// run computes the case on one backend and gives its results by name.
func (c Case) run(t *testing.T, pins *runtime.Pinner, dev backend.Backend, m mode) map[string][]float64 {
	t.Helper()
	b := &Builder{G: &graph.Graph{}, data: map[key][]byte{}}
	b.G.Output(c.Build(b))
	if err := b.fault(); err != nil {
		t.Fatal(err)
	}
	s := &session{t: t, pins: pins, dev: dev, b: b, places: map[key]backend.Place{}, results: map[string][]float64{}}
	defer s.free()
	var back *graph.Backward
	if b.differentiated() {
		var err error
		if back, err = graph.Differentiate(b.G, b.wanted(), m.keep); err != nil {
			t.Fatal(err)
		}
	}
	var keep []graph.ID
	if back != nil {
		keep = back.Keep
	}
	s.execute(b.G, keep, m.exact)
	s.download("output", b.G, b.G.Outputs[0])
	if back != nil {
		s.execute(back.Graph, nil, m.exact)
		for i, id := range back.Graph.Outputs {
			s.download("gradient of "+b.G.Value(b.wanted()[i]).Name, back.Graph, id)
		}
	}
	return s.results
}

// A session is one case on one backend.
type session struct {
	t       *testing.T
	dev     backend.Backend
	b       *Builder
	places  map[key]backend.Place
	blocks  []backend.Mem
	pins    *runtime.Pinner // of the weights, which backends borrow and C may read
	results map[string][]float64
}

func (s *session) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%s: %v", s.dev.Name(), err)
	}
}

func (s *session) alloc(n int64) backend.Place {
	m, err := s.dev.Alloc(n)
	s.check(err)
	s.blocks = append(s.blocks, m)
	return backend.Place{Mem: m}
}

func (s *session) free() {
	for _, m := range s.blocks {
		s.dev.Free(m)
	}
}

// execute runs one of the case's graphs, and downloads what it brought up to date or added to.
func (s *session) execute(g *graph.Graph, keep []graph.ID, exact bool) {
	s.t.Helper()
	s.check(s.dev.Check(g))
	p, err := s.dev.Compile(g, keep, exact)
	s.check(err)
	bind := &backend.Binding{Work: s.alloc(p.Work()), Of: func(id graph.ID, v *graph.Value) backend.Place {
		return s.place(g, id, v)
	}}
	s.check(p.Run(context.Background(), bind))
	for i := range g.Values {
		if v := &g.Values[i]; v.Kind == graph.State || v.Kind == graph.Grad {
			s.download(v.Name, g, graph.ID(i))
		}
	}
}

// place gives a value its memory, with its numbers in it. What the forward graph computed is found again by its ID.
func (s *session) place(g *graph.Graph, id graph.ID, v *graph.Value) backend.Place {
	k := keyOf(g == s.b.G, id, v)
	if at, ok := s.places[k]; ok {
		return at
	}
	data := s.b.data[k]
	if k.name == graph.GradName(0) {
		data = normals(v.Shape.Elements(), 77)
	}
	if v.Kind == graph.Weight {
		rows := v.Shape.Elements() / v.Shape[0]
		s.pins.Pin(&data[0])
		m, err := s.dev.Hold(backend.Weight{Name: v.Name, Type: v.Type, Shape: v.Shape, Row: int64(len(data)) / rows,
			Data: data})
		s.check(err)
		s.places[k] = backend.Place{Mem: m}
		return s.places[k]
	}
	at := s.alloc(v.Bytes())
	s.check(s.dev.Upload(at, data))
	s.places[k] = at
	return at
}

// download adds a value to the results.
func (s *session) download(name string, g *graph.Graph, id graph.ID) {
	s.t.Helper()
	v := g.Value(id)
	b := make([]byte, v.Bytes())
	s.check(s.dev.Download(b, s.place(g, id, v)))
	s.results[name] = floats(b, v.Type)
}
