package graph

import (
	"errors"
	"fmt"
)

// MostTaps is the most that a convolution may have: a bound of the kernels'.
const MostTaps = 16

// Conv: x [n,T], taps w [K,n], tree i32 → y [n,T]: a causal convolution of each channel for itself, along a token's
// branch: y_t = Σ_j w_j∘x of the token K−1−j places before t, which may be an ancestor's. Before the first token of a
// text there is nothing.
var Conv = register(&Op{Name: "conv", Outs: 1, Cheap: true, shape: shapeConv, back: backConv})

// ConvBack: w, dy, tree → dx.
var ConvBack = register(&Op{Name: "conv_back", Outs: 1, shape: shapeOf(1)})

// ConvGrad: x, dy, tree; adds to a Grad [K,n].
var ConvGrad = register(&Op{Name: "conv_grad", shape: shapeNone})

// ConvNext: x [n,T] of new tokens of texts, w [K,n], kept [(K−1)·n,slots] (a State), table i32 → y [n,T], to the bits
// of Conv over the whole of the texts. A slot has the last K−1 inputs of a text, the oldest first, zeros where it is
// shorter. The table is the kernels' (conv.inc.h).
var ConvNext = register(&Op{Name: "conv_next", Outs: 1, Updates: []int{2}, NoGrad: true, shape: shapeConvNext})

// Conv convolves each channel with taps of its own, along the tree's branches.
func (g *Graph) Conv(x, w, tree ID) ID {
	return g.emit(Node{Op: Conv, In: []ID{x, w, tree}, Acc: None})[0]
}

// ConvNext is Conv of new tokens of texts of which the last inputs are kept.
func (g *Graph) ConvNext(x, w, kept, table ID) ID {
	return g.emit(Node{Op: ConvNext, In: []ID{x, w, kept, table}, Acc: None})[0]
}

func backConv(r *reverse, n *Node) {
	x, w, tree, dy := n.In[0], n.In[1], n.In[2], r.grad[n.Out[0]]
	if g := r.accumulator(w); g != None {
		r.out.into(Node{Op: ConvGrad, In: []ID{r.need(x), dy, r.need(tree)}}, g)
	}
	if r.needs[x] {
		r.pass(x, r.out.emit(Node{Op: ConvBack, In: []ID{r.need(w), dy, r.need(tree)}, Acc: None})[0])
	}
}

func shapeConv(g *Graph, n *Node) ([]Shape, error) {
	x, w := g.shape(n.In[0]), g.Value(n.In[1])
	switch taps := w.Shape[0]; {
	case taps < 1 || taps > MostTaps:
		return nil, fmt.Errorf("%d taps, want 1 to %d", taps, MostTaps)
	case w.Shape[1] != x[0]:
		return nil, fmt.Errorf("taps of %d channels, rows of %d", w.Shape[1], x[0])
	case w.Type != F32:
		return nil, fmt.Errorf("taps of type %d", w.Type)
	}
	return []Shape{x}, nil
}

func shapeConvNext(g *Graph, n *Node) ([]Shape, error) {
	out, err := shapeConv(g, n)
	if err != nil {
		return nil, err
	}
	w, kept := g.shape(n.In[1]), g.Value(n.In[2])
	if w[0] < 2 {
		return nil, errors.New("one tap looks at nothing that could be kept")
	}
	ok := kept.Type == F32 && kept.Shape[0] == (w[0]-1)*w[1]
	return out, want(ok, "keeps %v of type %d of %d taps of %d channels", kept.Shape, kept.Type, w[0], w[1])
}
