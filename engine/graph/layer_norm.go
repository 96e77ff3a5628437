package graph

// LayerNorm: x [n,T], w [n], b [n] or None → (x − mean)/√(var + Eps)·w + b.
var LayerNorm = register(&Op{Name: "layer_norm", Outs: 1, Cheap: true, MadeTwice: true, shape: shapeLayerNorm,
	back: backLayerNorm})

// LayerNormBack: x, w, dy → dx, with Acc.
var LayerNormBack = register(&Op{Name: "layer_norm_back", Outs: 1, Starts: true, shape: shapeSame(0, 2)})

// LayerNormGrad: x, dy; adds to the Grads of w and b.
var LayerNormGrad = register(&Op{Name: "layer_norm_grad", shape: shapeNone})

// LayerNorm normalises rows of x to mean 0 and variance 1, then scales by w and shifts by b (or None).
func (g *Graph) LayerNorm(x, w, b ID, eps float64) ID {
	return g.emit(Node{Op: LayerNorm, In: []ID{x, w, b}, Acc: None, Attr: NormAttr{Eps: eps}})[0]
}

func backLayerNorm(r *reverse, n *Node) {
	x, w, dy := n.In[0], n.In[1], r.grad[n.Out[0]]
	switch gw, gb := r.accumulator(w), r.accumulator(n.In[2]); {
	case gw != None:
		r.out.into(Node{Op: LayerNormGrad, In: []ID{r.need(x), dy}, Attr: n.Attr}, gw, gb)
	case gb != None:
		r.out.into(Node{Op: BiasGrad, In: []ID{dy}}, gb)
	}
	if r.needs[x] {
		r.into(x, Node{Op: LayerNormBack, In: []ID{r.need(x), r.need(w), dy}, Attr: n.Attr})
	}
}

func shapeLayerNorm(g *Graph, n *Node) ([]Shape, error) {
	x, w := g.shape(n.In[0]), g.shape(n.In[1])
	return []Shape{x}, want(w[0] > 0 && x[0] == w[0], "rows of %d, weight of %d", x[0], w[0])
}
