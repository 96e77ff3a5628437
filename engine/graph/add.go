package graph

// Add: a, b → a + b.
var Add = register(&Op{Name: "add", Outs: 1, Cheap: true, Overwrites: []int{0}, Deep: true, shape: shapeSame(0, 1),
	back: backAdd})

// Add adds a + b.
func (g *Graph) Add(a, b ID) ID {
	return g.emit(Node{Op: Add, In: []ID{a, b}, Acc: None})[0]
}

func backAdd(r *reverse, n *Node) {
	dy := r.grad[n.Out[0]]
	r.pass(n.In[1], dy)
	r.pass(n.In[0], dy)
}
