package graph

// A SliceAttr holds the constants of Slice and Unslice.
type SliceAttr struct {
	Offset int64 // the slice's first element of a row
	Width  int64 // elements of an output row
}

// Slice: x [M,T] → x[Offset:Offset+Width] [Width,T].
var Slice = register(&Op{Name: "slice", Outs: 1, Cheap: true, shape: shapeSlice, back: backSlice})

// Unslice: dy [w,T] → [Width,T] = Acc, with dy added at Offset.
var Unslice = register(&Op{Name: "unslice", Outs: 1, Starts: true, shape: shapeUnslice})

// Slice takes width elements of every row of x, from offset.
func (g *Graph) Slice(x ID, offset, width int64) ID {
	return g.emit(Node{Op: Slice, In: []ID{x}, Acc: None, Attr: SliceAttr{Offset: offset, Width: width}})[0]
}

func backSlice(r *reverse, n *Node) {
	a := SliceAttr{Offset: n.Attr.(SliceAttr).Offset, Width: r.f.shape(n.In[0])[0]}
	r.into(n.In[0], Node{Op: Unslice, In: []ID{r.grad[n.Out[0]]}, Attr: a})
}

func shapeSlice(g *Graph, n *Node) ([]Shape, error) {
	x, a := g.shape(n.In[0]), n.Attr.(SliceAttr)
	ok := a.Offset >= 0 && a.Width > 0 && a.Offset+a.Width <= x[0]
	return []Shape{Matrix(a.Width, x[1])}, want(ok, "elements %d..%d of rows of %d", a.Offset, a.Offset+a.Width, x[0])
}

func shapeUnslice(g *Graph, n *Node) ([]Shape, error) {
	x, a := g.shape(n.In[0]), n.Attr.(SliceAttr)
	ok := a.Offset+x[0] <= a.Width
	return []Shape{Matrix(a.Width, x[1])}, want(ok, "%d elements at %d of rows of %d", x[0], a.Offset, a.Width)
}
