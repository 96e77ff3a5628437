// Package delta knows what may be trained beside a frozen weight, as a change of the graph around it: a LoRA pair is
// one. It knows no model, no file, and no memory but the order that a delta asks for.
package delta

import (
	"slices"

	"github.com/ggtune/ggtune/engine/graph"
)

// A Delta is a change of what one weight computes: a comparable value that holds all its graph depends on but the
// numbers of its parameters. It is one or more of Linear, Rows and Head, by where it may stand.
type Delta interface {
	// Params lists the numbers that stand beside a weight of that shape, trained ones and Fixed ones.
	Params(weight graph.Shape) []Param
}

// A Param is one tensor of a delta, in f32.
type Param struct {
	Name  string // behind the weight's name and a dot; parameters of one name may have a learning rate of their own
	Shape graph.Shape
	Decay bool // weight decay applies
	// Stacked asks for a place right behind the stacked parameter of the layer's part before, so that Join may see
	// several as one. One parameter of a delta at most, and only within the layers.
	Stacked bool
	// Fixed numbers stay as they begin: they have no gradient.
	Fixed bool
	// Shared numbers are one memory for all of a set's parameters that give it the same name; "": its own. They are
	// Fixed, and of one shape.
	Shared string
	// Tied neighbours of a row are one number (0: each is its own): they begin equal, and their gradients are their
	// mean, so that whatever updates number by number keeps them equal. Rows are whole groups of so many.
	Tied int64
}

// Stacked is the number of elements of a delta's stacked parameter, beside a weight of that shape; 0 where it has none.
func Stacked(d Delta, weight graph.Shape) int64 {
	for _, p := range d.Params(weight) {
		if p.Stacked {
			return p.Shape.Elements()
		}
	}
	return 0
}

// Linear is a Delta of a linear layer.
type Linear interface {
	Delta
	// Apply gives the layer's output, which starts from s.Acc.
	Apply(s *Site) graph.ID
}

// A Joiner is a Linear that does in fewer steps for several layers with one input what Apply does for each.
type Joiner interface {
	Linear
	// Joins says whether another delta may be joined with the receiver.
	Joins(Delta) bool
	// Join gives the layers' outputs. The receiver Joins the sites' deltas, their stacked parameters lie one right
	// behind the other, no input is dropped, and nothing is to start from (Acc is None).
	Join(sites []*Site) []graph.ID
}

// Rows is a Delta of a table that is read by row, such as the token embedding.
type Rows interface {
	Delta
	// Gather gives the rows ids; s.Base are those of the table.
	Gather(s *Site, ids graph.ID) graph.ID
}

// Head is a Delta of the output head, whose logits are never stored.
type Head interface {
	Delta
	// Product gives h2 and w2, of which w2 h2 is added to the logits of the head's input s.X.
	Product(s *Site) (h2, w2 graph.ID)
}

// A Placed is a delta beside one weight of a model, with its numbers.
type Placed struct {
	Delta
	Tensor string      // the weight's name
	Weight graph.Shape // the shape that the delta was made for
	// Values are the numbers of each parameter, in the order of Params: its beginnings, and what it is brought up to
	// date in.
	Values [][]float32
	// Late says that it acts only on tokens from an invocation on.
	Late bool
}

// A Use is a delta at work in a graph: comparable, like the delta itself.
type Use struct {
	Delta Delta
	// Set begins the names of its parameters: each of several sets has its own.
	Set    string
	Frozen bool // its parameters get no gradients
	// Late says that it acts only on tokens from an invocation on.
	Late bool
	// probability that an element of the input is zeroed on its way into the delta; 0 where dropout is off
	Dropout float64
	// At is where its stacked parameter begins among those of the layer, in elements.
	At int64
}

// A Multiply gives acc (or None) + scale·w x + bias (or None), as the layer at hand multiplies its rows.
type Multiply func(w, x, bias, acc graph.ID, scale float64) graph.ID

// A Site is the place of a delta in a graph that is being built.
type Site struct {
	Use
	G      *graph.Graph
	Name   string      // of the weight in the stage at hand
	Weight graph.Shape // [n_in, n_out], and n_expert where there are several
	X      graph.ID    // the layer's input [n_in, T]
	Acc    graph.ID    // None, or what the output starts from
	// Multiply multiplies as the layer does: of several experts each row by its own.
	Multiply Multiply
	// Base gives acc (or None) + what the layer computes without this delta. To be called once.
	Base func(acc graph.ID) graph.ID
	// Bare gives the layer's weight and bias (or None) where no other delta stands before this one; ok is false where
	// one does, so that the weight alone does not say what the layer computes.
	Bare func() (w, bias graph.ID, ok bool)
	// Drop zeroes elements of a value as Use.Dropout says. To be called once, or each call draws a mask of its own.
	Drop func(x graph.ID) graph.ID
	// Gate zeroes the rows of a value [.., T] on whose tokens the delta does not act. A delta that hands nothing
	// through it is to be put beside no weight where Use.Late is set.
	Gate func(x graph.ID) graph.ID
}

// Param binds a parameter of the site's delta.
func (s *Site) Param(name string) graph.ID {
	list := s.Delta.Params(s.Weight)
	i := slices.IndexFunc(list, func(p Param) bool { return p.Name == name })
	return s.bind(list[i])
}

// bind gives a value that stands beside the weight.
func (s *Site) bind(p Param) graph.ID {
	return s.G.Bound(graph.Value{Name: s.Set + s.Name + "." + p.Name, Kind: graph.Param, Type: graph.F32,
		Shape: p.Shape, Ref: graph.None, Delta: true, Frozen: s.Frozen || p.Fixed})
}
