package graph

// Squares: x [n,R] → f64 [1,R], each row's Σx².
var Squares = register(&Op{Name: "squares", Outs: 1, OutType: F64, NoGrad: true, shape: shapeSquares})

// Squares gives the sum of the squares of each row of x, in F64.
func (g *Graph) Squares(x ID) ID {
	return g.emit(Node{Op: Squares, In: []ID{x}, Acc: None})[0]
}

func shapeSquares(g *Graph, n *Node) ([]Shape, error) {
	return []Shape{Matrix(1, g.shape(n.In[0])[1])}, nil
}
