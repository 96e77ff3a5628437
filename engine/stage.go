package engine

import (
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
)

// A stage is one crossing into C and back: the embedding, one layer, or what follows the last layer.
type stage struct {
	forward   backend.Program
	backward  backend.Program // nil where nothing is trained and no gradient passes
	keptAt    []int64         // offset of each kept value in the area of kept values
	kept      []graph.ID
	keptBytes int64 // bytes
	seen      []seen
	noted     int64    // bytes of kept values that the way back does not ask for
	starts    graph.ID // where each expert's rows begin, a kept value of passes that go back; else None
	chosen    graph.ID // which experts tokens have, a kept value where it is told of; else None
}

// A seen is what a matrix is multiplied with, a kept value or the stage's input.
type seen struct {
	role      arch.Role
	x, starts graph.ID
}

// The stages that are no layer.
const (
	stageEmbed = -1
	stageFinal = -2
)

// A shape is what a stage's graph depends on beside the model.
type shape struct {
	tokens, segments int64
	apply, train     mask
	dropout, back    bool
	noise            bool    // added to the embeddings
	recompute        bool    // keep nothing of a layer but its input
	inputGrad        bool    // the gradient of the stage's input is wanted
	inputs           bool    // what matrices are multiplied with is kept
	routes           routing // of a layer: what is done about the choice of experts
	temp             float64 // what logits are divided by, in the last stage
	// Of a Cache's pass, its pages and slots, and the numbers of their tables; else 0.
	pages, table, slots, runs int64
}

type stageKey struct {
	kind any
	shape
	want string // of the last stage
}

// stage builds, or finds, the stage il (or stageEmbed, stageFinal) for batches of that shape. w is what the last one
// gives.
func (s *Session) stage(il int, sh shape, w want) (*stage, error) {
	key := stageKey{s.kind(il), sh, w.key()}
	if st, ok := s.stages[key]; ok {
		return st, nil
	}
	st, err := s.buildStage(il, sh, w)
	if err != nil {
		return nil, err
	}
	const most = 64 // batches of a run have few shapes; a run with many builds some again
	if len(s.stages) >= most {
		clear(s.stages)
	}
	s.stages[key] = st
	return st, nil
}

// kind is a comparable value of all that the graph of stage il depends on beside its shape: what the architecture
// says of it and, for each of its tensors, the storage type and what the sets have in its place or beside it.
func (s *Session) kind(il int) any {
	if k, ok := s.kinds[il]; ok {
		return k
	}
	layer := s.layer(il)
	k := any([2]any{min(il, 0), layer})
	for _, p := range layer.Parts() {
		x, ok := s.model.tensors[p.Name(il)]
		if !ok {
			k = [2]any{k, nil}
			continue
		}
		k = [2]any{k, x.info.Type}
		for _, t := range s.sets {
			_, own := t.own[p.Name(il)]
			k = [3]any{k, t.uses[p.Name(il)], own}
			if r, ok := s.rounding(t, p.Name(il)); ok {
				k = [2]any{k, r}
			}
		}
	}
	s.kinds[il] = k
	return k
}

// layer is the architecture's word on stage il.
func (s *Session) layer(il int) arch.Layer {
	switch il {
	case stageEmbed:
		return s.model.net.Embed
	case stageFinal:
		return s.model.net.Final
	}
	return s.model.net.Layer(il)
}

// find gives the tensor that stage il knows by a name: its own, or one outside the layers.
func (s *Session) find(il int, name string) (string, tensor, bool) {
	if il >= 0 {
		own := arch.InLayer(il, name)
		if t, ok := s.model.tensors[own]; ok {
			return own, t, true
		}
	}
	t, ok := s.model.tensors[name]
	return name, t, ok
}

func (s *Session) builder(il int, sh shape) *arch.Builder {
	drop := 0.0
	if sh.dropout {
		drop = s.cfg.ModelDropout
	}
	return &arch.Builder{
		G: &graph.Graph{}, HP: s.model.net.HParams, T: sh.tokens, Segments: sh.segments, Sets: s.setsAt(il, sh),
		Next: s.next(&sh), Drop: drop,
		Tensor: func(r arch.Role, suffix string) (arch.Tensor, bool) {
			name, x, ok := s.find(il, string(r)+suffix)
			for _, t := range s.in(sh.apply) {
				if x, has := t.own[name]; has {
					own := arch.Tensor{Type: x.typ, Shape: x.shape, Own: true, Set: t.prefix(),
						Frozen: !sh.train.has(t)}
					if r, ok := s.rounding(t, name); ok {
						own.Type, own.Row = int32(r.as), r.row
					}
					return own, true
				}
			}
			if !ok {
				return arch.Tensor{}, false
			}
			return arch.Tensor{Type: int32(x.info.Type), Shape: x.shape}, true
		},
	}
}

func (s *Session) buildStage(il int, sh shape, w want) (*stage, error) {
	b, st := s.builder(il, sh), &stage{chosen: graph.None, starts: graph.None}
	if sh.back {
		b.Grouped = func(of graph.Groups) { st.starts = of.Starts }
	}
	if b.Held = sh.routes == routesHeld; sh.routes == routesTold {
		b.Chosen = func(chosen graph.ID) { st.chosen = chosen }
	}
	if sh.inputs {
		b.Seen = func(role arch.Role, x, starts graph.ID) { st.seen = append(st.seen, seen{role, x, starts}) }
	}
	x, layer := graph.None, s.layer(il)
	switch il {
	case stageEmbed:
		y := layer.Build(b, x)
		if sh.noise {
			y = b.G.Add(y, b.Noise())
		}
		b.G.Output(y)
	case stageFinal:
		x = b.Input()
		t := &top{Builder: b, x: x, after: layer, back: sh.back, entropy: w.has(Entropy), scale: 1 / sh.temp}
		for _, a := range w {
			t.request, t.n = a.request, a.n
			b.G.Output(a.build(t))
		}
	default:
		x = b.Input()
		b.G.Output(layer.Build(b, x))
	}
	for _, in := range st.seen {
		for _, id := range []graph.ID{in.x, in.starts} {
			if id != x && id != graph.None && !slices.Contains(st.kept, id) {
				st.kept = append(st.kept, id)
			}
		}
	}
	if err := s.differentiate(st, b.G, x, il, sh); err != nil {
		return nil, err
	}
	for _, id := range []graph.ID{st.chosen, st.starts} {
		if id != graph.None && !slices.Contains(st.kept, id) {
			st.kept = append(st.kept, id)
			st.noted += backend.Aligned(valueBytes(b.G.Value(id)))
		}
	}
	var err error
	if st.forward, err = s.compile(b.G, st.kept); err != nil {
		return nil, err
	}
	for _, id := range st.kept {
		st.keptAt = append(st.keptAt, st.keptBytes)
		st.keptBytes += backend.Aligned(valueBytes(b.G.Value(id)))
	}
	return st, nil
}

// compile has the backend compile a graph that it can run.
func (s *Session) compile(g *graph.Graph, kept []graph.ID) (backend.Program, error) {
	if g.Err() != nil {
		return nil, g.Err()
	}
	if err := s.backend.Check(g); err != nil {
		return nil, fmt.Errorf("engine: device %s: %w", s.backend.Name(), err)
	}
	return s.backend.Compile(g, kept, s.cfg.Exact)
}

func (s *Session) differentiate(st *stage, g *graph.Graph, x graph.ID, il int, sh shape) error {
	if !sh.back || g.Err() != nil {
		return g.Err()
	}
	var wanted []graph.ID
	if sh.inputGrad && il != stageEmbed {
		wanted = []graph.ID{x}
	}
	bw, err := graph.Differentiate(g, wanted, !sh.recompute || il == stageFinal)
	if err != nil || bw == nil {
		return err
	}
	if st.kept = bw.Keep; il == stageFinal { // what is given is there anyway
		st.kept = slices.DeleteFunc(st.kept, func(id graph.ID) bool { return slices.Contains(g.Outputs, id) })
	}
	st.backward, err = s.compile(bw.Graph, nil)
	return err
}

func valueBytes(v *graph.Value) int64 { return v.Shape.Elements() * 4 }
