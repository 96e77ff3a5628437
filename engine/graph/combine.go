package graph

import "fmt"

// Combine: x [K,R], at i32 [k,T], from i32 [1,R] → [K,T] = Acc + Σ_j x[at[j,t]]: what Gather's derivative is. From says
// the same the other way round, for its own.
var Combine = register(&Op{Name: "combine", Outs: 1, Cheap: true, Starts: true, shape: shapeCombine,
	back: backCombine})

// Weigh: x [K,R], w [k,T], at i32 [k,T] → [K,R]: row at[j,t] times w[j,t].
var Weigh = register(&Op{Name: "weigh", Outs: 1, Cheap: true, Overwrites: []int{0}, shape: shapeWeigh, back: backWeigh})

// WeighBack: x, w, at, dy [K,R] → dx [K,R], dw [k,T].
var WeighBack = register(&Op{Name: "weigh_back", Outs: 2, Overwrites: []int{3}, shape: shapeOf(0, 1)})

// WeighedBias: b [N,E], w [k,T], chosen i32 [k,T] → [N,T] = Acc + Σ_j w[j,t]·b[chosen[j,t]].
var WeighedBias = register(&Op{Name: "weighed_bias", Outs: 1, Cheap: true, Starts: true, shape: shapeWeighedBias,
	back: backWeighedBias})

// WeighedBiasBack: b [N,E], chosen, dy [N,T] → dw [k,T].
var WeighedBiasBack = register(&Op{Name: "weighed_bias_back", Outs: 1, shape: shapeOf(1)})

// WeighedBiasGrad: w, chosen, dy; adds w·dy to the chosen rows of a Grad [N,E].
var WeighedBiasGrad = register(&Op{Name: "weighed_bias_grad", shape: shapeNone})

// Combine adds up the rows of each token's choices.
func (g *Graph) Combine(x ID, of Groups, acc ID) ID {
	return g.emit(Node{Op: Combine, In: []ID{x, of.At, of.From}, Acc: acc})[0]
}

// Weigh multiplies the row of each choice by its weight.
func (g *Graph) Weigh(x, w ID, of Groups) ID {
	return g.emit(Node{Op: Weigh, In: []ID{x, w, of.At}, Acc: None})[0]
}

// WeighedBias adds up the biases of each token's experts, weighed.
func (g *Graph) WeighedBias(b, w, chosen, acc ID) ID {
	return g.emit(Node{Op: WeighedBias, In: []ID{b, w, chosen}, Acc: acc})[0]
}

// d(x) of a row is d(y) of its token: rows of a table.
func backCombine(r *reverse, n *Node) {
	x, dy := n.In[0], r.grad[n.Out[0]]
	if r.needs[x] {
		r.pass(x, r.out.emit(Node{Op: Rows, In: []ID{dy, r.need(n.In[2])}, Acc: None})[0])
	}
	r.pass(n.Acc, dy)
}

func backWeigh(r *reverse, n *Node) {
	in := []ID{r.need(n.In[0]), r.need(n.In[1]), r.need(n.In[2]), r.grad[n.Out[0]]}
	d := r.out.emit(Node{Op: WeighBack, In: in, Acc: None})
	r.pass(n.In[0], d[0])
	r.pass(n.In[1], d[1])
}

func backWeighedBias(r *reverse, n *Node) {
	b, w, chosen, dy := n.In[0], n.In[1], n.In[2], r.grad[n.Out[0]]
	if g := r.accumulator(b); g != None {
		r.out.into(Node{Op: WeighedBiasGrad, In: []ID{r.need(w), r.need(chosen), dy}}, g)
	}
	if r.needs[w] {
		d := r.out.emit(Node{Op: WeighedBiasBack, In: []ID{r.need(b), r.need(chosen), dy}, Acc: None})
		r.pass(w, d[0])
	}
	r.pass(n.Acc, dy)
}

func shapeCombine(g *Graph, n *Node) ([]Shape, error) {
	x, at, from := g.shape(n.In[0]), g.shape(n.In[1]), g.shape(n.In[2])
	if x[1] != at.Elements() || from != Matrix(1, x[1]) {
		return nil, fmt.Errorf("%d rows, choices %v", x[1], at)
	}
	return []Shape{Matrix(x[0], at[1])}, nil
}

func shapeWeigh(g *Graph, n *Node) ([]Shape, error) {
	x, w, at := g.shape(n.In[0]), g.shape(n.In[1]), g.shape(n.In[2])
	return []Shape{x}, want(w == at && x[1] == at.Elements(), "%d rows, weights %v of choices %v", x[1], w, at)
}

func shapeWeighedBias(g *Graph, n *Node) ([]Shape, error) {
	b, w, chosen := g.shape(n.In[0]), g.shape(n.In[1]), g.shape(n.In[2])
	if w != chosen {
		return nil, fmt.Errorf("weights %v of choices %v", w, chosen)
	}
	return []Shape{Matrix(b[0], w[1])}, choiceFault(w[0], b[1])
}
