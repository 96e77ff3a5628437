package graph

import (
	"fmt"

	"github.com/ggtune/ggtune/internal/registry"
)

// An Op is an operation. Each has a file of its own, with the operations that its derivative is made of and the
// builder's method; other packages find what they do for it by the pointer.
//
// In the comments of the operations T is the number of tokens, K a linear layer's inputs, N its outputs; [..] is a
// shape in ggml order; Acc is the value that the first output starts from, where the operation allows one.
type Op struct {
	Name string
	Outs int // outputs; 0: it adds to gradients
	// Cheap: its cost is linear in its inputs, so a backward pass computes it again rather than having it kept.
	Cheap bool
	// MadeTwice: a derivative that asks for the output has it made again from its input, which the operation's own
	// derivative needs anyway. In between, where a layer needs most memory, it is not held.
	MadeTwice bool
	// Starts: the first output may start from a given value (Node.Acc) instead of zero.
	Starts bool
	// Overwrites lists, for each output, the input whose memory it may take.
	Overwrites []int
	// OutType is the element type of the outputs.
	OutType int32
	// Updates lists the inputs that it overwrites with their next values: States.
	Updates []int
	// NoGrad: nothing differentiates it: it is part of an optimizer's step, or of a pass that never goes back.
	NoGrad bool
	// Constant: to what reads its outputs they are constants, whatever they are made of: no gradient goes through it.
	Constant bool
	// Deep: its inputs may have a third dimension, because it looks at each number or each row for itself.
	Deep bool

	// shape checks a node's inputs and gives its outputs' shapes; the zero Shape is an output that is absent.
	shape func(g *Graph, n *Node) ([]Shape, error)
	// back adds the gradients of n's inputs, given those of its outputs; nil where n has no derivative.
	back func(r *reverse, n *Node)
}

func (op *Op) String() string { return op.Name }

var ops = registry.New[*Op]("operation")

func register(op *Op) *Op { return ops.Register(op.Name, op) }

// Ops lists all operations by name.
func Ops() []*Op { return ops.All() }

// check gives the shapes of a node's outputs, or says why it takes no such inputs.
func (g *Graph) check(n *Node) ([]Shape, error) {
	for _, id := range n.In {
		if id != None && g.shape(id)[2] != 1 && !n.Op.Deep {
			return nil, fmt.Errorf("takes two dimensions, not %v", g.shape(id))
		}
	}
	for _, k := range n.Op.Updates {
		if v := g.Value(n.In[k]); v.Kind != State {
			return nil, fmt.Errorf("brings %q up to date, which is bound to be read only", v.Name)
		}
	}
	return n.Op.shape(g, n)
}

// shapeNone is of operations that add to gradients, whose shapes are those of the parameters.
func shapeNone(*Graph, *Node) ([]Shape, error) { return nil, nil }

// shapeOf gives the shapes of the inputs listed.
func shapeOf(in ...int) func(*Graph, *Node) ([]Shape, error) {
	return func(g *Graph, n *Node) ([]Shape, error) {
		out := make([]Shape, len(in))
		for i, k := range in {
			out[i] = g.shape(n.In[k])
		}
		return out, nil
	}
}

// shapeSame wants the two inputs listed alike and gives their shape.
func shapeSame(a, b int) func(*Graph, *Node) ([]Shape, error) {
	return func(g *Graph, n *Node) ([]Shape, error) {
		if g.shape(n.In[a]) != g.shape(n.In[b]) {
			return nil, fmt.Errorf("shapes %v and %v differ", g.shape(n.In[a]), g.shape(n.In[b]))
		}
		return []Shape{g.shape(n.In[a])}, nil
	}
}

func want(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}
