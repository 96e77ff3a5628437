package graph

// LionConstants are the numbers of Lion's input of constants, in their order there.
type LionConstants struct {
	Scale        float64 // factor of the gradient
	Beta1, Beta2 float64 // share of the moment in the direction, and what it keeps
	Keep         float64 // factor of the parameters: 1 less the weight decay
	Rate         float64 // learning rate
}

// LionNumbers is how many they are.
const LionNumbers = 5

// Lion: x (a Master), m [n,R] (States), gradient [n,R], constants f64 [LionNumbers,1], key → [1,R], 0 where all of a
// row is finite after the update, no number elsewhere. With g = Scale·gradient, x ← Keep·x − Rate·sign(Beta1·m +
// (1−Beta1)·g), m ← Beta2·m + (1−Beta2)·g, computed in F64 (Chen et al. 2023, algorithm 2).
var Lion = register(&Op{Name: "lion", Outs: 1, Updates: []int{0, 1}, NoGrad: true, shape: shapeLion})

// Lion updates x and its moment m by a gradient, and tells the rows that are no longer finite.
func (g *Graph) Lion(x Master, m, gradient, constants ID) ID {
	return g.emit(Node{Op: Lion, In: []ID{x.X, m, gradient, constants, x.Key}, Acc: None})[0]
}

func shapeLion(g *Graph, n *Node) ([]Shape, error) {
	return shapeUpdate(g, n.In[0], n.In[4], n.In[1:3], n.In[3], LionNumbers)
}
