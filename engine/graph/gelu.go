package graph

// GELU: x → gelu(x), the tanh form.
var GELU = register(&Op{Name: "gelu", Outs: 1, Cheap: true, Overwrites: []int{0}, Deep: true, shape: shapeOf(0),
	back: backGELU})

// GELUBack: x, dout → dx.
var GELUBack = register(&Op{Name: "gelu_back", Outs: 1, Overwrites: []int{0}, Deep: true, shape: shapeSame(0, 1)})

// GELU adds gelu(x), the tanh form.
func (g *Graph) GELU(x ID) ID {
	return g.emit(Node{Op: GELU, In: []ID{x}, Acc: None})[0]
}

func backGELU(r *reverse, n *Node) {
	in := []ID{r.need(n.In[0]), r.grad[n.Out[0]]}
	r.pass(n.In[0], r.out.emit(Node{Op: GELUBack, In: in, Acc: None})[0])
}
