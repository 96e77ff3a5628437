package graph

// AdamWConstants are the numbers of AdamW's input of constants, in their order there.
type AdamWConstants struct {
	Scale        float64 // factor of the gradient
	Beta1, Beta2 float64 // decay of the moments
	Keep         float64 // factor of the parameters: 1 less the weight decay
	Rate         float64 // learning rate over the first moment's correction
	Correct2     float64 // root of the second moment's correction
	Eps          float64
}

// AdamWNumbers is how many they are.
const AdamWNumbers = 7

// AdamW: x (a Master), m, v [n,R] (States), gradient [n,R], constants f64 [AdamWNumbers,1], key → [1,R], 0 where all of
// a row is finite after the update, no number elsewhere. With g = Scale·gradient, m ← Beta1·m + (1−Beta1)·g, v ←
// Beta2·v + (1−Beta2)·g², x ← Keep·x − Rate·m/(√v/Correct2 + Eps), computed in F64 (Loshchilov and Hutter 2019,
// algorithm 2).
var AdamW = register(&Op{Name: "adamw", Outs: 1, Updates: []int{0, 1, 2}, NoGrad: true, shape: shapeAdamW})

// AdamW updates x and its moments m and v by a gradient, and tells the rows that are no longer finite.
func (g *Graph) AdamW(x Master, m, v, gradient, constants ID) ID {
	return g.emit(Node{Op: AdamW, In: []ID{x.X, m, v, gradient, constants, x.Key}, Acc: None})[0]
}

func shapeAdamW(g *Graph, n *Node) ([]Shape, error) {
	return shapeUpdate(g, n.In[0], n.In[5], n.In[1:4], n.In[4], AdamWNumbers)
}
