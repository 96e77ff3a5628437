package graph

// SwiGLU: g, u → silu(g)∘u.
var SwiGLU = register(&Op{Name: "swiglu", Outs: 1, Cheap: true, Overwrites: []int{0}, Deep: true,
	shape: shapeSame(0, 1), back: backSwiGLU})

// SwiGLUBack: g, u, dout → dg, du.
var SwiGLUBack = register(&Op{Name: "swiglu_back", Outs: 2, Overwrites: []int{0, 1}, Deep: true, shape: shapeOf(0, 1)})

// SwiGLU adds silu(gate)∘up.
func (g *Graph) SwiGLU(gate, up ID) ID {
	return g.emit(Node{Op: SwiGLU, In: []ID{gate, up}, Acc: None})[0]
}

func backSwiGLU(r *reverse, n *Node) {
	in := []ID{r.need(n.In[0]), r.need(n.In[1]), r.grad[n.Out[0]]}
	d := r.out.emit(Node{Op: SwiGLUBack, In: in, Acc: None})
	r.pass(n.In[0], d[0])
	r.pass(n.In[1], d[1])
}
