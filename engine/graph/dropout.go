package graph

// A DropoutAttr holds the constants of Dropout.
type DropoutAttr struct {
	Rate   float64 // probability that an element is zeroed
	Stream int64   // which mask
}

// Dropout: x → x∘mask/(1−Rate); the mask is keyed by Stream and by a key given when the graph is run.
var Dropout = register(&Op{Name: "dropout", Outs: 1, Cheap: true, Overwrites: []int{0}, Deep: true, shape: shapeOf(0), back: backDropout})

// Dropout zeroes elements of x with probability rate and scales the rest by 1/(1−rate). Stream tells the masks of one
// graph apart; a run's key those of its layers and steps.
func (g *Graph) Dropout(x ID, rate float64, stream int64) ID {
	return g.emit(Node{Op: Dropout, In: []ID{x}, Acc: None, Attr: DropoutAttr{Rate: rate, Stream: stream}})[0]
}

// The same mask, on the gradient.
func backDropout(r *reverse, n *Node) {
	if !r.needs[n.In[0]] {
		return
	}
	in := []ID{r.grad[n.Out[0]]}
	r.pass(n.In[0], r.out.emit(Node{Op: n.Op, In: in, Acc: None, Attr: n.Attr})[0])
}
