package graph

import (
	"fmt"
	"math"
)

// A GateKind says what the weights of a token's experts are made of.
type GateKind int64

// The kinds of gating, with the kernels' numbers.
const (
	GateSoftmax       GateKind = iota // a softmax over all experts
	GateSoftmaxChosen                 // a softmax over the chosen ones alone
	GateSigmoid                       // a sigmoid of each logit
)

// A GatingAttr holds the constants of Gating.
type GatingAttr struct {
	Kind  GateKind
	Norm  bool    // the weights of a token's experts are divided by their sum (by 2^-14, if that is more)
	Scale float64 // factor of the weights
}

// A TopKAttr holds the constants of TopK.
type TopKAttr struct{ K int64 }

// A GroupAttr holds the constants of Group.
type GroupAttr struct{ Experts int64 }

// MostExperts is the most that a layer can have: llama.cpp's bound (LLAMA_MAX_EXPERTS).
const MostExperts = 512

// In the comments of these operations and of experts.go and combine.go, E is the number of experts, k that of a
// token's, R = k·T that of the rows of all tokens, sorted by expert.

// TopK: x [E,T] → i32 [k,T]: the k largest, the largest first, of equal ones the first. A constant to whoever reads it.
var TopK = register(&Op{Name: "top_k", Outs: 1, OutType: I32, Constant: true, shape: shapeTopK})

// Group: chosen i32 [k,T] → at i32 [k,T], the row of each choice; from i32 [1,R], the token of each row; starts i32
// [1,E+1], where an expert's rows begin. Constants.
var Group = register(&Op{Name: "group", Outs: 3, OutType: I32, Constant: true, shape: shapeGroup})

// Gating: logits [E,T], chosen i32 [k,T] → the weights [k,T] of the chosen.
var Gating = register(&Op{Name: "gating", Outs: 1, Cheap: true, shape: shapeGating, back: backGating})

// GatingBack: logits, chosen, dw [k,T] → dlogits [E,T].
var GatingBack = register(&Op{Name: "gating_back", Outs: 1, shape: shapeOf(0)})

// Groups are what Group gives.
type Groups struct{ At, From, Starts ID }

// TopK chooses the k largest of each column of x.
func (g *Graph) TopK(x ID, k int64) ID {
	return g.emit(Node{Op: TopK, In: []ID{x}, Acc: None, Attr: TopKAttr{k}})[0]
}

// Group sorts the rows of tokens that chose among experts.
func (g *Graph) Group(chosen ID, experts int64) Groups {
	out := g.emit(Node{Op: Group, In: []ID{chosen}, Acc: None, Attr: GroupAttr{experts}})
	return Groups{out[0], out[1], out[2]}
}

// Gating gives the weights of the chosen.
func (g *Graph) Gating(logits, chosen ID, a GatingAttr) ID {
	return g.emit(Node{Op: Gating, In: []ID{logits, chosen}, Acc: None, Attr: a})[0]
}

func backGating(r *reverse, n *Node) {
	in := []ID{r.need(n.In[0]), r.need(n.In[1]), r.grad[n.Out[0]]}
	r.pass(n.In[0], r.out.emit(Node{Op: GatingBack, In: in, Acc: None, Attr: n.Attr})[0])
}

func choiceFault(k, experts int64) error {
	if experts < 1 || experts > MostExperts {
		return fmt.Errorf("%d experts: want 1 to %d", experts, MostExperts)
	}
	return want(k >= 1 && k <= experts, "%d of %d experts chosen", k, experts)
}

func shapeTopK(g *Graph, n *Node) ([]Shape, error) {
	x, k := g.shape(n.In[0]), n.Attr.(TopKAttr).K
	return []Shape{Matrix(k, x[1])}, choiceFault(k, x[0])
}

func shapeGroup(g *Graph, n *Node) ([]Shape, error) {
	chosen, experts := g.shape(n.In[0]), n.Attr.(GroupAttr).Experts
	return []Shape{chosen, Matrix(1, chosen.Elements()), Matrix(1, experts+1)}, choiceFault(chosen[0], experts)
}

func shapeGating(g *Graph, n *Node) ([]Shape, error) {
	x, chosen, a := g.shape(n.In[0]), g.shape(n.In[1]), n.Attr.(GatingAttr)
	if chosen[1] != x[1] {
		return nil, fmt.Errorf("%d tokens, choices of %d", x[1], chosen[1])
	}
	if a.Kind < GateSoftmax || a.Kind > GateSigmoid || math.IsInf(a.Scale, 0) || math.IsNaN(a.Scale) {
		return nil, fmt.Errorf("gating %+v", a)
	}
	return []Shape{chosen}, choiceFault(chosen[0], x[0])
}
