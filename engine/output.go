package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
	"github.com/ggtune/ggtune/internal/registry"
)

// An Output is one kind of thing that a forward pass can be asked for. Each has a file of its own, which registers it
// with a package-level variable.
type Output struct {
	Name string
	Doc  string
	// of is what of a batch it is given for.
	of *reading
	// width is how many numbers are given for each.
	width func(r *request) int64
	// head is that of a set which it reads, [n_embd, width], or "".
	head arch.Role
	// scores says that it is of the vocabulary's logits, which models without an output head lack.
	scores bool
	// build gives them, [width, n].
	build func(t *top) graph.ID
	// ends says that it takes no derivatives: no backward pass starts from it.
	ends bool
}

// Outputs are numbers by kind: width for each thing of the batch that a kind is given for, in the batch's order (row
// by row). What Backward is given are the loss's derivatives by them.
type Outputs map[*Output][]float32

var outputs = registry.New[*Output]("output")

func registerOutput(o *Output) *Output { return outputs.Register(o.Name, o) }

// OutputKinds lists all there are, by name.
func OutputKinds() []*Output { return outputs.All() }

// A reading is the part of a batch that outputs are given for, as index inputs of their graphs.
type reading struct {
	what string // one of them, for people
	// names are those of the inputs; the first has one index for each thing.
	names []string
	// row adds a row's indices.
	row func(x indices, r *laid) error
	// plan adds as many as a batch of that size has.
	plan func(x indices, e *Extent, p arch.Pooling)
}

// A request is a pass as its outputs see it.
type request struct {
	hp  arch.HParams
	opt *Options
	x   indices
}

// named is how many tokens are named for each counted one.
func (r *request) named() int64 {
	return int64(len(r.x[arch.InputNamed]) / max(1, len(r.x[arch.InputNamedSources])))
}

// A top is what an output's graph is built from.
type top struct {
	*arch.Builder
	*request
	x     graph.ID   // the last layer's output [n_embd, T]
	after arch.Layer // what follows it
	n     int64      // how many are asked for
	back  bool       // derivatives will come
	// What the pass's outputs share, once one of them has built it, and whether Entropy is among them.
	head    *counted
	entropy bool
	scale   float64 // of the logits
}

// rows gives those rows of the last layer's output that an index input names, with what follows it.
func (t *top) rows(index string) graph.ID {
	n := int64(len(t.request.x[index]))
	return t.after.Build(t.Builder, t.G.Rows(t.x, t.Indices(index, n)))
}

// An asked is one output of a pass.
type asked struct {
	*Output
	*request
	n     int64 // how many things it is given for
	count int64 // numbers
	// Where its numbers and the loss's derivatives by them lie among the pass's outputs, in bytes.
	value, grad int64
}

// A want is all that a pass is asked for.
type want []asked

// maxTemp bounds temperatures to what f32 logits can be multiplied and divided by.
const maxTemp = 1e6

// want checks what a pass over a batch is asked for, and gives it its places.
func (s *Session) want(opt *Options, x indices) (want, error) {
	var out want
	if t := opt.temp(); !(t > 0 && t <= maxTemp && t >= 1/maxTemp) {
		return nil, fmt.Errorf("engine: forward: temperature %g, expected %g to %g", t, 1/maxTemp, maxTemp)
	}
	bytes, r := int64(0), &request{hp: s.model.net.HParams, opt: opt, x: x}
	for i, o := range s.outputs(opt) {
		if slices.Contains(opt.Want[:min(i, len(opt.Want))], o) {
			return nil, fmt.Errorf("engine: forward: output %s is asked for twice", o.Name)
		}
		if o.scores && s.model.net.Headless {
			return nil, fmt.Errorf("engine: forward: output %s is of the vocabulary's logits, and %s, a %s, has no "+
				"output head: it makes vectors of texts (output %s)", o.Name, s.model.Path(), s.model.net.Arch,
				Pooled.Name)
		}
		if opt.Backward && o.ends {
			return nil, fmt.Errorf("engine: forward: a backward pass is asked for, and none can start from output %s",
				o.Name)
		}
		a := asked{Output: o, request: r, n: int64(len(x[o.of.names[0]])), value: bytes}
		a.count = a.n * o.width(r)
		bytes += backend.Aligned(4 * a.count)
		if opt.Backward {
			a.grad = bytes
			bytes += backend.Aligned(4 * a.count)
		}
		out = append(out, a)
	}
	return out, nil
}

// checkHeads refuses outputs that read a head which no applied set has, or has in another shape.
func (s *Session) checkHeads(w want, apply mask) error {
	for _, a := range w {
		if a.head == "" {
			continue
		}
		name, fits := (&Head{Role: a.head}).tensor(), graph.Matrix(int64(s.model.net.NEmbd), a.width(a.request))
		i := slices.IndexFunc(s.in(apply), func(t *set) bool { return t.own[name] != own{} })
		if i < 0 {
			return fmt.Errorf("engine: forward: output %s reads head %q, and no set that is applied has it", a.Name,
				a.head)
		}
		if got := s.in(apply)[i].own[name].shape; got != fits {
			return fmt.Errorf("engine: forward: head %q of set %q is %v, and output %s of this model reads %v", a.head,
				s.in(apply)[i].Name, got, a.Name, fits)
		}
	}
	return nil
}

// bytes is the memory of w's numbers, with that of the derivatives in a pass that goes back.
func (w want) bytes() int64 {
	last := w[len(w)-1]
	return max(last.value, last.grad) + backend.Aligned(4*last.count)
}

// has says whether o is asked for.
func (w want) has(o *Output) bool {
	return slices.ContainsFunc(w, func(a asked) bool { return a.Output == o })
}

// key tells apart what differs in the graph of the last stage.
func (w want) key() string {
	var b strings.Builder
	for _, a := range w {
		fmt.Fprintf(&b, "%s %d %d ", a.Name, a.n, a.count)
		for _, name := range a.of.names {
			fmt.Fprintf(&b, "%d ", len(a.x[name]))
		}
	}
	return b.String()
}

// check refuses derivatives that are not those of w's outputs.
func (w want) check(grad Outputs) error {
	for _, a := range w {
		g, ok := grad[a.Output]
		if !ok {
			return fmt.Errorf("engine: backward: no gradients for output %s, which the forward pass gave", a.Name)
		}
		if int64(len(g)) != a.count {
			return fmt.Errorf("engine: backward: %d gradients for %d %ss", len(g), a.n, a.of.what)
		}
	}
	if len(grad) != len(w) {
		return fmt.Errorf("engine: backward: gradients for %d outputs of %d", len(grad), len(w))
	}
	return nil
}
