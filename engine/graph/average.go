package graph

import "fmt"

// AverageConstants are the numbers of Average's input of constants, in their order there.
type AverageConstants struct {
	Share float64 // of the parameters in the average
}

// AverageNumbers is how many they are.
const AverageNumbers = 1

// Average: a [n,R] (State), x [n,R], constants f64 [AverageNumbers,1] → [1,R], 0 where all of a row is finite after the
// update, no number elsewhere: a ← a + Share·(x − a), computed in F64.
var Average = register(&Op{Name: "average", Outs: 1, Updates: []int{0}, NoGrad: true, shape: shapeAverage})

// Average moves averages a towards parameters x, and tells the rows that are not finite.
func (g *Graph) Average(a, x, constants ID) ID {
	return g.emit(Node{Op: Average, In: []ID{a, x, constants}, Acc: None})[0]
}

func shapeAverage(g *Graph, n *Node) ([]Shape, error) {
	a := g.shape(n.In[0])
	if x := g.shape(n.In[1]); x != a {
		return nil, fmt.Errorf("averages %v beside parameters %v", a, x)
	}
	return []Shape{Matrix(1, a[1])}, wantConstants(g, n.In[2], AverageNumbers)
}
