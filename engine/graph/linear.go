package graph

import "fmt"

// A LinearAttr holds the constants of products with a weight.
type LinearAttr struct {
	Scale float64 // factor of the product
	Exact bool    // in f32 in every mode
}

// Linear: W [K,N], x [K,T], bias [N] or None → y [N,T] = Acc + Scale·W x + bias.
var Linear = register(&Op{Name: "linear", Outs: 1, Starts: true, shape: shapeLinear, back: backLinear})

// LinearT: W [K,N], dy [N,T] → dx [K,T] = Acc + Scale·Wᵀ dy.
var LinearT = register(&Op{Name: "linear_t", Outs: 1, Starts: true, shape: shapeLinearT})

// Outer: x [K,T], dy [N,T]; adds Scale·Σ_t x_t dy_tᵀ to a Grad [K,N].
var Outer = register(&Op{Name: "outer", shape: shapeNone})

// BiasGrad: dy [N,T]; adds Σ_t dy_t to a Grad [N].
var BiasGrad = register(&Op{Name: "bias_grad", shape: shapeNone})

// Linear adds y = acc + scale·W x + bias; bias and acc may be None.
func (g *Graph) Linear(w, x, bias, acc ID, scale float64) ID {
	return g.emit(Node{Op: Linear, In: []ID{w, x, bias}, Acc: acc, Attr: LinearAttr{Scale: scale}})[0]
}

// LinearExact is Linear in f32 in every mode: a choice hangs on the result.
func (g *Graph) LinearExact(w, x, bias, acc ID, scale float64) ID {
	return g.emit(Node{Op: Linear, In: []ID{w, x, bias}, Acc: acc, Attr: LinearAttr{Scale: scale, Exact: true}})[0]
}

// y = acc + s·W x + b: d(x) = s·Wᵀ d(y), d(W) = s·d(y) xᵀ, d(b) = Σ_t d(y), d(acc) = d(y).
func backLinear(r *reverse, n *Node) {
	w, x, bias, dy := n.In[0], n.In[1], n.In[2], r.grad[n.Out[0]]
	if g := r.accumulator(w); g != None {
		r.out.into(Node{Op: Outer, In: []ID{r.need(x), dy}, Attr: n.Attr}, g)
	}
	if g := r.accumulator(bias); g != None {
		r.out.into(Node{Op: BiasGrad, In: []ID{dy}}, g)
	}
	if r.needs[x] {
		r.into(x, Node{Op: LinearT, In: []ID{r.need(w), dy}, Attr: n.Attr})
	}
	r.pass(n.Acc, dy)
}

func shapeLinear(g *Graph, n *Node) ([]Shape, error) {
	w, x, b := g.shape(n.In[0]), g.shape(n.In[1]), n.In[2]
	if w[0] != x[0] {
		return nil, fmt.Errorf("weight takes %d inputs, rows have %d", w[0], x[0])
	}
	if b != None && g.shape(b)[0] != w[1] {
		return nil, fmt.Errorf("bias has %d elements, outputs are %d", g.shape(b)[0], w[1])
	}
	return []Shape{Matrix(w[1], x[1])}, nil
}

func shapeLinearT(g *Graph, n *Node) ([]Shape, error) {
	w, dy := g.shape(n.In[0]), g.shape(n.In[1])
	return []Shape{Matrix(w[0], dy[1])}, want(w[1] == dy[0], "weight has %d outputs, rows have %d", w[1], dy[0])
}
