package graph

import "math"

// A SoftCapAttr holds the constants of SoftCap.
type SoftCapAttr struct {
	Cap float64 // above 0
}

// SoftCap: x → cap·tanh(x/cap).
var SoftCap = register(&Op{Name: "softcap", Outs: 1, Cheap: true, Overwrites: []int{0}, Deep: true,
	shape: shapeSoftCap, back: backSoftCap})

// SoftCapBack: x, dout → dx.
var SoftCapBack = register(&Op{Name: "softcap_back", Outs: 1, Overwrites: []int{0}, Deep: true, shape: shapeSame(0, 1)})

// SoftCap keeps numbers within ±cap.
func (g *Graph) SoftCap(x ID, cap float64) ID {
	return g.emit(Node{Op: SoftCap, In: []ID{x}, Acc: None, Attr: SoftCapAttr{cap}})[0]
}

func backSoftCap(r *reverse, n *Node) {
	in := []ID{r.need(n.In[0]), r.grad[n.Out[0]]}
	r.pass(n.In[0], r.out.emit(Node{Op: SoftCapBack, In: in, Acc: None, Attr: n.Attr})[0])
}

func shapeSoftCap(g *Graph, n *Node) ([]Shape, error) {
	return []Shape{g.shape(n.In[0])}, capFault(n.Attr.(SoftCapAttr).Cap)
}

// capFault refuses a bound that bounds nothing, or everything to 0.
func capFault(c float64) error { return want(c > 0 && !math.IsInf(c, 1), "bounds numbers to %g", c) }
