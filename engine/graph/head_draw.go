package graph

// A HeadDrawAttr holds the constants of HeadDraw.
type HeadDrawAttr struct {
	Greedy     bool    // the likeliest row is taken, with certainty
	Scale, Cap float64 // HeadAttr's
}

// HeadDraw: h [K,C], W [K,V], h2 [r,C] or None, W2 [r,V] or None, u f64 [C,1] from 0 to below 1 → [3,C]: of each token
// the row of W at which the cumulated softmax passes u, as a number, its log-probability and the softmax's entropy,
// both to the bit as Head gives them; no numbers where the logits are none.
var HeadDraw = register(&Op{Name: "head_draw", Outs: 1, shape: shapeHeadDraw, NoGrad: true})

// HeadDraw adds the output head and returns what is drawn from it.
func (g *Graph) HeadDraw(h, w, h2, w2, u ID, a HeadDrawAttr) ID {
	return g.emit(Node{Op: HeadDraw, In: []ID{h, w, h2, w2, u}, Acc: None, Attr: a})[0]
}

func shapeHeadDraw(g *Graph, n *Node) ([]Shape, error) {
	if err := headFault(g, n.In[0], n.In[1], n.In[2], n.In[3]); err != nil {
		return nil, err
	}
	h, u := g.shape(n.In[0]), g.Value(n.In[4])
	if u.Type != F64 || u.Shape != Matrix(h[1], 1) {
		return nil, want(false, "draws %d tokens by %v of type %d", h[1], u.Shape, u.Type)
	}
	a := n.Attr.(HeadDrawAttr)
	return []Shape{Matrix(3, h[1])}, scaleFault(a.Scale, a.Cap)
}
