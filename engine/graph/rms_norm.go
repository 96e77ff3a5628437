package graph

import "fmt"

// A NormAttr holds the constants of RMSNorm, of LayerNorm and of their derivatives.
type NormAttr struct {
	Eps float64 // added to the mean square or the variance
	Run int64   // n, where no weight says it
}

// RMSNorm: x [H·n,T], w [n] or None → the same shape, each run of n normalised: x/√(mean x² + Eps)·w.
var RMSNorm = register(&Op{Name: "rms_norm", Outs: 1, Cheap: true, MadeTwice: true, shape: shapeNorm,
	back: backRMSNorm})

// RMSNormBack: x, w or None, dy → dx, with Acc.
var RMSNormBack = register(&Op{Name: "rms_norm_back", Outs: 1, Starts: true, shape: shapeSame(0, 2)})

// RMSNormGrad: x, dy; adds to a Grad [n].
var RMSNormGrad = register(&Op{Name: "rms_norm_grad", shape: shapeNone})

// RMSNorm normalises each run of len(w) elements of x (the whole row, or every head of it).
func (g *Graph) RMSNorm(x, w ID, eps float64) ID {
	return g.emit(Node{Op: RMSNorm, In: []ID{x, w}, Acc: None, Attr: NormAttr{Eps: eps}})[0]
}

// Unit brings each run of n elements of x to a mean square of 1.
func (g *Graph) Unit(x ID, n int64, eps float64) ID {
	return g.emit(Node{Op: RMSNorm, In: []ID{x, None}, Acc: None, Attr: NormAttr{Eps: eps, Run: n}})[0]
}

func backRMSNorm(r *reverse, n *Node) {
	x, w, dy := n.In[0], n.In[1], r.grad[n.Out[0]]
	if g := r.accumulator(w); g != None {
		r.out.into(Node{Op: RMSNormGrad, In: []ID{r.need(x), dy}, Attr: n.Attr}, g)
	}
	if r.needs[x] {
		r.into(x, Node{Op: RMSNormBack, In: []ID{r.need(x), r.need(w), dy}, Attr: n.Attr})
	}
}

// shapeNorm wants rows that are whole runs.
func shapeNorm(g *Graph, n *Node) ([]Shape, error) {
	x, run := g.shape(n.In[0]), NormRun(g, n)
	if run < 1 || x[0]%run != 0 {
		return nil, fmt.Errorf("rows of %d, weight of %d", x[0], run)
	}
	return []Shape{x}, nil
}

// NormRun is how many elements a node of RMSNorm or RMSNormBack normalises at once.
func NormRun(g *Graph, n *Node) int64 {
	if w := n.In[1]; w != None {
		return g.shape(w)[0]
	}
	return n.Attr.(NormAttr).Run
}
