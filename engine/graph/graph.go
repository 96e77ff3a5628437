package graph

import (
	"errors"
	"fmt"
)

// An ID names a value of one graph. None is the absent value.
type ID int32

// None stands for an absent optional input.
const None ID = -1

// A Kind says where a value's numbers come from.
type Kind uint8

const (
	Temp   Kind = iota // computed by a node of this graph
	Input              // bound from outside by name; read only
	State              // bound from outside by name, read and written: what an operation brings up to date (Op.Updates)
	Weight             // a frozen model tensor, bound by name; any storage type
	Param              // a trained tensor, bound by name: in f32, bf16, or what it is rounded to (Row)
	Grad               // the gradient accumulator of a Param, bound by its name; nodes add to it
	Saved              // a value kept from the forward graph, bound by Ref
)

// Element types of a value: ggml's numbers. A Weight may have any other of them too.
const (
	F32 int32 = 0
	I32 int32 = 26
	I64 int32 = 27
	F64 int32 = 28
	// BF16 is of Params and States that hold trained numbers, beside Weights.
	BF16 int32 = 30
)

// TypeBytes is the size of an element of one of these types.
func TypeBytes(t int32) int64 {
	switch t {
	case I64, F64:
		return 8
	case BF16:
		return 2
	}
	return 4
}

// A Shape is [ne0, ne1, ne2] in ggml order: ne0 contiguous elements a row, ne1 rows (tokens, for activations), ne2
// matrices (experts, for weights that have several). Make it with Matrix, so that no dimension is left at 0.
type Shape [3]int64

// Matrix is the shape of ne1 rows of ne0 elements.
func Matrix(ne0, ne1 int64) Shape { return Shape{ne0, ne1, 1} }

// Dims are two dimensions, or three where the third is not 1.
func (s Shape) Dims() []int64 {
	if s[2] == 1 {
		return s[:2]
	}
	return s[:]
}

// Elements is the number of elements.
func (s Shape) Elements() int64 { return s[0] * s[1] * s[2] }

// String leaves a third dimension of 1 out.
func (s Shape) String() string {
	return fmt.Sprint(s.Dims())
}

// A Value is one run of numbers of the graph.
type Value struct {
	Name  string
	Kind  Kind
	Type  int32
	Shape Shape
	// Row is the size of a row of a Param that is rounded to a storage type, in bytes; 0: its elements are Type's.
	Row int64
	Ref ID // Saved: the value's ID in the forward graph
	// Delta says of a Param or Grad that it belongs to a change beside a weight, such as a LoRA pair, and is no weight
	// of the model.
	Delta bool
	// Frozen says of a Param that no gradient is wanted of it.
	Frozen bool
}

// Bytes is the size of a value that is no Weight.
func (v *Value) Bytes() int64 {
	if v.Row > 0 {
		return v.Shape[1] * v.Shape[2] * v.Row
	}
	return v.Shape.Elements() * TypeBytes(v.Type)
}

// A Node applies one operation. Out values are Temps it defines, or Grads it adds to.
type Node struct {
	Op   *Op
	In   []ID // optional inputs may be None
	Out  []ID
	Acc  ID  // None, or the value the first output starts from (out = Acc + …)
	Attr any // the operation's constants: a comparable struct of its own, or nil
}

// A Graph is a list of nodes in an order that computes every value before its use. Build one with its methods, then
// look at Err once.
type Graph struct {
	Values  []Value
	Nodes   []Node
	Outputs []ID // values wanted from outside

	producer []int32 // of each value: its node, or -1
	err      error
}

// Err returns the first fault met while building.
func (g *Graph) Err() error { return g.err }

// Value returns the value's description; id must be of g.
func (g *Graph) Value(id ID) *Value { return &g.Values[id] }

// Producer returns the index of the node that defines id, or -1.
func (g *Graph) Producer(id ID) int { return int(g.producer[id]) }

// Output marks id as wanted from outside.
func (g *Graph) Output(id ID) {
	if id != None {
		g.Outputs = append(g.Outputs, id)
	}
}

// Bound adds a value that is bound from outside (not a Temp). A second call with the same kind, name and Ref gives the
// same value.
func (g *Graph) Bound(v Value) ID {
	if v.Shape[0] < 0 || v.Shape[1] < 0 || v.Shape[2] < 1 {
		g.Fail("value %q has the shape %v", v.Name, v.Shape[:])
	}
	for i := range g.Values {
		have := &g.Values[i]
		if have.Kind == v.Kind && have.Name == v.Name && have.Ref == v.Ref {
			if have.Shape != v.Shape || have.Type != v.Type {
				g.Fail("value %q is bound as %v and as %v", v.Name, have.Shape, v.Shape)
			}
			return ID(i)
		}
	}
	return g.push(v, -1)
}

// Find returns the bound value of that kind and name, or None.
func (g *Graph) Find(kind Kind, name string) ID {
	for i := range g.Values {
		if g.Values[i].Kind == kind && g.Values[i].Name == name {
			return ID(i)
		}
	}
	return None
}

func (g *Graph) push(v Value, node int32) ID {
	g.Values = append(g.Values, v)
	g.producer = append(g.producer, node)
	return ID(len(g.Values) - 1)
}

// Fail makes g at fault: for whoever builds it and finds that it cannot be built.
func (g *Graph) Fail(format string, args ...any) {
	if g.err == nil {
		g.err = fmt.Errorf("graph: "+format, args...)
	}
}

// emit appends a node whose outputs are new Temps, after checking its inputs' shapes. It returns len(shapes) IDs, all
// None if the graph is at fault.
func (g *Graph) emit(n Node) []ID {
	outs := make([]ID, n.Op.Outs)
	for i := range outs {
		outs[i] = None
	}
	if g.err != nil {
		return outs
	}
	shapes, err := g.check(&n)
	if err == nil && n.Acc != None && !n.Op.Starts {
		err = errors.New("starts from no value")
	}
	if err != nil {
		g.Fail("%s%s: %v", n.Op, g.describe(n.In), err)
		return outs
	}
	if n.Acc != None && g.Values[n.Acc].Shape != shapes[0] {
		g.Fail("%s: adds to %v what is %v", n.Op, g.Values[n.Acc].Shape, shapes[0])
		return outs
	}
	for i, s := range shapes {
		if s != (Shape{}) {
			outs[i] = g.push(Value{Kind: Temp, Type: n.Op.OutType, Shape: s, Ref: None}, int32(len(g.Nodes)))
		}
	}
	n.Out = outs
	g.Nodes = append(g.Nodes, n)
	return outs
}

// into appends a node that adds to gradient accumulators.
func (g *Graph) into(n Node, grads ...ID) {
	if g.err != nil {
		return
	}
	if _, err := g.check(&n); err != nil {
		g.Fail("%s%s: %v", n.Op, g.describe(n.In), err)
		return
	}
	n.Acc, n.Out = None, grads
	g.Nodes = append(g.Nodes, n)
}

func (g *Graph) describe(ids []ID) string {
	s := "("
	for i, id := range ids {
		if i > 0 {
			s += ", "
		}
		if id == None {
			s += "-"
			continue
		}
		v := &g.Values[id]
		s += fmt.Sprintf("%s%v", v.Name, v.Shape)
	}
	return s + ")"
}

func (g *Graph) shape(id ID) Shape {
	if id == None {
		return Shape{}
	}
	return g.Values[id].Shape
}
