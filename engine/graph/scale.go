package graph

import "fmt"

// A PairNormAttr holds the constants of PairNorm.
type PairNormAttr struct {
	Scale float64 // of the pair
}

// Scale: x [N,T], v [N], u [N] or None, b [N] or None → Acc + x∘v∘u + b, each row number by number. u and b are
// constants: no gradient of theirs is given.
var Scale = register(&Op{Name: "scale", Outs: 1, Cheap: true, Starts: true, shape: shapeScale, back: backScale})

// ScaleGrad: x [N,T], dy [N,T], u [N] or None; adds u∘Σ_t x∘dy to a Grad [N].
var ScaleGrad = register(&Op{Name: "scale_grad", shape: shapeNone})

// PairNorm: norms ‖W_o‖ [N], W A [N,r], B [r,N], A Aᵀ B [r,N] → 1/‖W_o + Scale·(BA)_o‖ [N], or 0 for a row of zeros. It
// is a constant to whoever reads it: no gradient goes through it.
var PairNorm = register(&Op{Name: "pair_norm", Outs: 1, Constant: true, shape: shapePairNorm})

// Scale multiplies each row of x by v and by u, and adds b and acc; u, b and acc may be None.
func (g *Graph) Scale(x, v, u, b, acc ID) ID {
	return g.emit(Node{Op: Scale, In: []ID{x, v, u, b}, Acc: acc})[0]
}

// PairNorm gives the inverse norms of the rows of W + scale·BA, of which norms are those of W alone.
func (g *Graph) PairNorm(norms, wa, b, h ID, scale float64) ID {
	return g.emit(Node{Op: PairNorm, In: []ID{norms, wa, b, h}, Acc: None, Attr: PairNormAttr{Scale: scale}})[0]
}

// y = acc + x∘v∘u + b: d(x) = d(y)∘v∘u, d(v) = u∘Σ_t x∘d(y), d(acc) = d(y).
func backScale(r *reverse, n *Node) {
	x, v, u, dy := n.In[0], n.In[1], n.In[2], r.grad[n.Out[0]]
	if g := r.accumulator(v); g != None {
		r.out.into(Node{Op: ScaleGrad, In: []ID{r.need(x), dy, r.need(u)}}, g)
	}
	if r.needs[x] {
		r.into(x, Node{Op: n.Op, In: []ID{dy, r.need(v), r.need(u), None}})
	}
	r.pass(n.Acc, dy)
}

func shapeScale(g *Graph, n *Node) ([]Shape, error) {
	x := g.shape(n.In[0])
	for _, v := range n.In[1:] {
		if v != None && g.shape(v) != Matrix(x[0], 1) {
			return nil, fmt.Errorf("rows of %d, a vector of %v", x[0], g.shape(v))
		}
	}
	for _, v := range n.In[2:] {
		if v != None && trained(g.Value(v)) {
			return nil, fmt.Errorf("%q is trained, and would get no gradient", g.Value(v).Name)
		}
	}
	return []Shape{x}, nil
}

func shapePairNorm(g *Graph, n *Node) ([]Shape, error) {
	norms, wa, b, h := g.shape(n.In[0]), g.shape(n.In[1]), g.shape(n.In[2]), g.shape(n.In[3])
	if norms != Matrix(wa[0], 1) || b != Matrix(wa[1], wa[0]) || h != b {
		return nil, fmt.Errorf("norms %v, products %v and %v, B %v", norms, wa, h, b)
	}
	return []Shape{norms}, nil
}
