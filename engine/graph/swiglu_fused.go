package graph

// SwiGLUFused: x [2M,T], the gate above what it lets through → silu(x[:M])∘x[M:] [M,T].
var SwiGLUFused = register(&Op{Name: "swiglu_fused", Outs: 1, Cheap: true, shape: shapeSwiGLUFused,
	back: backSwiGLUFused})

// SwiGLUFusedBack: x, dout → dx.
var SwiGLUFusedBack = register(&Op{Name: "swiglu_fused_back", Outs: 1, Overwrites: []int{0}, shape: shapeOf(0)})

// SwiGLUFused adds silu(gate)∘up, of rows that hold the gate and then up.
func (g *Graph) SwiGLUFused(x ID) ID {
	return g.emit(Node{Op: SwiGLUFused, In: []ID{x}, Acc: None})[0]
}

func backSwiGLUFused(r *reverse, n *Node) {
	in := []ID{r.need(n.In[0]), r.grad[n.Out[0]]}
	r.pass(n.In[0], r.out.emit(Node{Op: SwiGLUFusedBack, In: in, Acc: None})[0])
}

func shapeSwiGLUFused(g *Graph, n *Node) ([]Shape, error) {
	x := g.shape(n.In[0])
	return []Shape{Matrix(x[0]/2, x[1])}, want(x[0]%2 == 0, "rows of %d, which have no halves", x[0])
}
