package graph

import "fmt"

// Gather: x [K,T], from i32 [1,R], at i32 [k,T] → [K,R]: the token's row for each of its experts. At is for the
// derivative, a Combine.
var Gather = register(&Op{Name: "gather", Outs: 1, Cheap: true, shape: shapeGather, back: backGather})

// Experts: W [K,N,E], x [K,R], bias [N,E] or None, starts i32 [1,E+1] → y [N,R] = Acc + Scale·W_e x + bias_e, with the
// expert e of each row.
var Experts = register(&Op{Name: "experts", Outs: 1, Starts: true, Deep: true, shape: shapeExperts, back: backExperts})

// ExpertsT: W [K,N,E], dy [N,R], starts → dx [K,R] = Acc + Scale·W_eᵀ dy.
var ExpertsT = register(&Op{Name: "experts_t", Outs: 1, Starts: true, Deep: true, shape: shapeExpertsT})

// ExpertsOuter: x [K,R], dy [N,R], starts; adds Scale·Σ x dyᵀ over each expert's rows to a Grad [K,N,E].
var ExpertsOuter = register(&Op{Name: "experts_outer", shape: shapeNone})

// ExpertsBiasGrad: dy [N,R], starts; adds Σ dy over each expert's rows to a Grad [N,E].
var ExpertsBiasGrad = register(&Op{Name: "experts_bias_grad", shape: shapeNone})

// Gather gives each choice its token's row of x.
func (g *Graph) Gather(x ID, to Groups) ID {
	return g.emit(Node{Op: Gather, In: []ID{x, to.From, to.At}, Acc: None})[0]
}

// Experts adds y = acc + scale·W_e x + bias_e, each row with its expert's matrix; bias and acc may be None.
func (g *Graph) Experts(w, x, bias ID, of Groups, acc ID, scale float64) ID {
	return g.emit(Node{Op: Experts, In: []ID{w, x, bias, of.Starts}, Acc: acc, Attr: LinearAttr{Scale: scale}})[0]
}

func backGather(r *reverse, n *Node) {
	if r.needs[n.In[0]] {
		r.into(n.In[0], Node{Op: Combine, In: []ID{r.grad[n.Out[0]], r.need(n.In[2]), r.need(n.In[1])}})
	}
}

// As of Linear, expert by expert.
func backExperts(r *reverse, n *Node) {
	w, x, bias, starts, dy := n.In[0], n.In[1], n.In[2], n.In[3], r.grad[n.Out[0]]
	if g := r.accumulator(w); g != None {
		r.out.into(Node{Op: ExpertsOuter, In: []ID{r.need(x), dy, r.need(starts)}, Attr: n.Attr}, g)
	}
	if g := r.accumulator(bias); g != None {
		r.out.into(Node{Op: ExpertsBiasGrad, In: []ID{dy, r.need(starts)}}, g)
	}
	if r.needs[x] {
		r.into(x, Node{Op: ExpertsT, In: []ID{r.need(w), dy, r.need(starts)}, Attr: n.Attr})
	}
	r.pass(n.Acc, dy)
}

func shapeGather(g *Graph, n *Node) ([]Shape, error) {
	x, from, at := g.shape(n.In[0]), g.shape(n.In[1]), g.shape(n.In[2])
	if at[1] != x[1] || from != Matrix(1, at.Elements()) {
		return nil, fmt.Errorf("%d rows, %v of them gathered for choices %v", x[1], from, at)
	}
	return []Shape{Matrix(x[0], from[1])}, nil
}

// expertsFault says why W_e cannot multiply rows, or their transposes those of the output.
func expertsFault(g *Graph, n *Node, rows, starts ID) error {
	if k := g.shape(rows); k[2] != 1 || g.shape(starts)[2] != 1 {
		return fmt.Errorf("rows %v, starts %v", k, g.shape(starts))
	}
	return want(g.shape(starts) == Matrix(1, g.shape(n.In[0])[2]+1), "a weight of %d experts, starts of %d",
		g.shape(n.In[0])[2], g.shape(starts)[1]-1)
}

func shapeExperts(g *Graph, n *Node) ([]Shape, error) {
	w, x := g.shape(n.In[0]), g.shape(n.In[1])
	if w[0] != x[0] {
		return nil, fmt.Errorf("weight takes %d inputs, rows have %d", w[0], x[0])
	}
	if b := n.In[2]; b != None && g.shape(b) != Matrix(w[1], w[2]) {
		return nil, fmt.Errorf("bias is %v, outputs are %d of %d experts", g.shape(b), w[1], w[2])
	}
	return []Shape{Matrix(w[1], x[1])}, expertsFault(g, n, n.In[1], n.In[3])
}

func shapeExpertsT(g *Graph, n *Node) ([]Shape, error) {
	w, dy := g.shape(n.In[0]), g.shape(n.In[1])
	if w[1] != dy[0] {
		return nil, fmt.Errorf("weight has %d outputs, rows have %d", w[1], dy[0])
	}
	return []Shape{Matrix(w[0], dy[1])}, expertsFault(g, n, n.In[1], n.In[2])
}
