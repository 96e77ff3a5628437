package graph

// Mul: a, b → a∘b.
var Mul = register(&Op{Name: "mul", Outs: 1, Cheap: true, Overwrites: []int{0}, Deep: true, shape: shapeSame(0, 1),
	back: backMul})

// Mul multiplies two values number by number.
func (g *Graph) Mul(a, b ID) ID {
	return g.emit(Node{Op: Mul, In: []ID{a, b}, Acc: None})[0]
}

// y = a∘b: d(a) = d(y)∘b, d(b) = d(y)∘a.
func backMul(r *reverse, n *Node) {
	a, b, dy := n.In[0], n.In[1], r.grad[n.Out[0]]
	by := func(to, other ID) {
		if r.needs[to] {
			r.pass(to, r.out.emit(Node{Op: n.Op, In: []ID{dy, r.need(other)}, Acc: None})[0])
		}
	}
	by(a, b)
	by(b, a)
}
