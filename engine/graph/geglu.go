package graph

// GEGLU: g, u → gelu(g)∘u, the tanh form.
var GEGLU = register(&Op{Name: "geglu", Outs: 1, Cheap: true, Overwrites: []int{0}, Deep: true,
	shape: shapeSame(0, 1), back: backGEGLU})

// GEGLUBack: g, u, dout → dg, du.
var GEGLUBack = register(&Op{Name: "geglu_back", Outs: 2, Overwrites: []int{0, 1}, Deep: true, shape: shapeOf(0, 1)})

// GEGLU adds gelu(gate)∘up, the tanh form.
func (g *Graph) GEGLU(gate, up ID) ID {
	return g.emit(Node{Op: GEGLU, In: []ID{gate, up}, Acc: None})[0]
}

func backGEGLU(r *reverse, n *Node) {
	in := []ID{r.need(n.In[0]), r.need(n.In[1]), r.grad[n.Out[0]]}
	d := r.out.emit(Node{Op: GEGLUBack, In: in, Acc: None})
	r.pass(n.In[0], d[0])
	r.pass(n.In[1], d[1])
}
