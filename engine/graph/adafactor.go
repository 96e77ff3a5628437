package graph

import "fmt"

// AdafactorConstants are the numbers of Adafactor's input of constants, in their order there.
type AdafactorConstants struct {
	Scale float64 // factor of the gradient
	Decay float64 // of the means of squares
	Eps   float64 // added to each square
	Keep  float64 // factor of the parameters: 1 less the weight decay
	Rate  float64 // learning rate
	Clip  float64 // largest root mean square of an update before the rate
}

// AdafactorNumbers is how many they are.
const AdafactorNumbers = 6

// AdafactorMoments: R [1,N], C [K,1] (States), gradient [K,N], constants f64 [AdafactorNumbers,1] → f64 [1,N], each
// row's Σu². R and C are the means of g² + Eps, g = Scale·gradient, over rows and columns; u = g/√(R_r/mean(R)·C_i)
// (Shazeer and Stern 2018, algorithm 4). A vector is a matrix of one row.
var AdafactorMoments = register(&Op{Name: "adafactor_moments", Outs: 1, OutType: F64, Updates: []int{0, 1},
	NoGrad: true, shape: shapeAdafactorMoments})

// Adafactor: x [K,N] (a Master), R, C, gradient, the Σu² of AdafactorMoments, constants, key → [1,N], 0 where all of a
// row is finite after the update, no number elsewhere: x ← Keep·x − Rate·u, u brought to at most Clip in the root mean
// square.
var Adafactor = register(&Op{Name: "adafactor", Outs: 1, Updates: []int{0}, NoGrad: true, shape: shapeAdafactor})

// Adafactor updates x and the means of its squares by a gradient, and tells the rows that are no longer finite.
func (g *Graph) Adafactor(x Master, rows, columns, gradient, constants ID) ID {
	sums := g.emit(Node{Op: AdafactorMoments, In: []ID{rows, columns, gradient, constants}, Acc: None})[0]
	return g.emit(Node{Op: Adafactor, In: []ID{x.X, rows, columns, gradient, sums, constants, x.Key}, Acc: None})[0]
}

func shapeAdafactorMoments(g *Graph, n *Node) ([]Shape, error) {
	return shapeFactors(g, n.In[0], n.In[1], n.In[2], n.In[3])
}

func shapeAdafactor(g *Graph, n *Node) ([]Shape, error) {
	x, err := shapeMaster(g, n.In[0], n.In[6])
	if d := g.shape(n.In[3]); err == nil && x != d {
		err = fmt.Errorf("parameters %v beside %v", x, d)
	}
	if err != nil {
		return nil, err
	}
	out, err := shapeFactors(g, n.In[1], n.In[2], n.In[3], n.In[5])
	if err == nil && (g.shape(n.In[4]) != out[0] || g.Value(n.In[4]).Type != F64) {
		err = fmt.Errorf("sums %v of type %d, want %v of f64", g.shape(n.In[4]), g.Value(n.In[4]).Type, out[0])
	}
	return out, err
}

// shapeFactors checks what both operations read, and gives one number a row.
func shapeFactors(g *Graph, rows, columns, gradient, constants ID) ([]Shape, error) {
	d := g.shape(gradient)
	if g.shape(rows) != Matrix(1, d[1]) || g.shape(columns) != Matrix(d[0], 1) {
		return nil, fmt.Errorf("gradient %v with rows' means %v and columns' %v", d, g.shape(rows), g.shape(columns))
	}
	return []Shape{Matrix(1, d[1])}, wantConstants(g, constants, AdafactorNumbers)
}
