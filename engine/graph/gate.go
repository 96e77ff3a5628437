package graph

// Gate: x [K,T], on i32 [1,T] → x_t where on_t is not 0, else 0.
var Gate = register(&Op{Name: "gate", Outs: 1, Cheap: true, Overwrites: []int{0}, shape: shapeGate, back: backGate})

// Gate lets the rows of x through that on marks; the others are zero.
func (g *Graph) Gate(x, on ID) ID {
	return g.emit(Node{Op: Gate, In: []ID{x, on}, Acc: None})[0]
}

// The same marks, on the gradient.
func backGate(r *reverse, n *Node) {
	if !r.needs[n.In[0]] {
		return
	}
	in := []ID{r.grad[n.Out[0]], r.need(n.In[1])}
	r.pass(n.In[0], r.out.emit(Node{Op: n.Op, In: in, Acc: None})[0])
}

func shapeGate(g *Graph, n *Node) ([]Shape, error) {
	x, on := g.shape(n.In[0]), g.Value(n.In[1])
	return []Shape{x}, want(on.Shape == Matrix(1, x[1]) && on.Type == I32, "%d rows, marks %v of type %d", x[1],
		on.Shape, on.Type)
}
