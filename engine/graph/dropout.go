package graph

// A DropoutAttr holds the constants of Dropout.
type DropoutAttr struct {
	Rate   float64 // probability that an element is zeroed
	Stream int64   // which mask
}

// Dropout: x, key i64 [1,1] → x∘mask/(1−Rate); the mask is a function of the key, the Stream and the element's place.
var Dropout = register(&Op{Name: "dropout", Outs: 1, Cheap: true, Overwrites: []int{0}, Deep: true, shape: shapeDropout,
	back: backDropout})

// Dropout zeroes elements of x with probability rate and scales the rest by 1/(1−rate). Stream tells the masks of one
// graph apart, the key those of its runs.
func (g *Graph) Dropout(x, key ID, rate float64, stream int64) ID {
	return g.emit(Node{Op: Dropout, In: []ID{x, key}, Acc: None, Attr: DropoutAttr{Rate: rate, Stream: stream}})[0]
}

// The same mask, on the gradient.
func backDropout(r *reverse, n *Node) {
	if !r.needs[n.In[0]] {
		return
	}
	in := []ID{r.grad[n.Out[0]], r.need(n.In[1])}
	r.pass(n.In[0], r.out.emit(Node{Op: n.Op, In: in, Acc: None, Attr: n.Attr})[0])
}

func shapeDropout(g *Graph, n *Node) ([]Shape, error) {
	return []Shape{g.shape(n.In[0])}, keyFault(g, n.In[1])
}

func keyFault(g *Graph, id ID) error {
	key := g.Value(id)
	return want(key.Shape == Matrix(1, 1) && key.Type == I64, "the key is %v of type %d, want one i64", key.Shape,
		key.Type)
}
