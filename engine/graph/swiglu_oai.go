package graph

import "math"

// A SwiGLUOAIAttr holds the constants of SwiGLUOAI and of its derivative.
type SwiGLUOAIAttr struct {
	Alpha float64 // factor of the sigmoid's argument
	Limit float64 // the gate stays below it, the other within ±Limit; above 0
}

// SwiGLUOAI: g, u → x·σ(Alpha·x)∘(y + 1), of x = min(g, Limit) and y = u within ±Limit: gpt-oss' activation.
var SwiGLUOAI = register(&Op{Name: "swiglu_oai", Outs: 1, Cheap: true, Overwrites: []int{0}, Deep: true,
	shape: shapeSwiGLUOAI, back: backSwiGLUOAI})

// SwiGLUOAIBack: g, u, dout → dg, du, which are 0 beyond a bound.
var SwiGLUOAIBack = register(&Op{Name: "swiglu_oai_back", Outs: 2, Overwrites: []int{0, 1}, Deep: true,
	shape: shapeOf(0, 1)})

// SwiGLUOAI adds the activation of gate and up.
func (g *Graph) SwiGLUOAI(gate, up ID, a SwiGLUOAIAttr) ID {
	return g.emit(Node{Op: SwiGLUOAI, In: []ID{gate, up}, Acc: None, Attr: a})[0]
}

func backSwiGLUOAI(r *reverse, n *Node) {
	in := []ID{r.need(n.In[0]), r.need(n.In[1]), r.grad[n.Out[0]]}
	d := r.out.emit(Node{Op: SwiGLUOAIBack, In: in, Acc: None, Attr: n.Attr})
	r.pass(n.In[0], d[0])
	r.pass(n.In[1], d[1])
}

func shapeSwiGLUOAI(g *Graph, n *Node) ([]Shape, error) {
	a := n.Attr.(SwiGLUOAIAttr)
	if err := want(!math.IsNaN(a.Alpha) && !math.IsInf(a.Alpha, 0), "multiplies by %g", a.Alpha); err != nil {
		return nil, err
	}
	if err := capFault(a.Limit); err != nil {
		return nil, err
	}
	return shapeSame(0, 1)(g, n)
}
