package graph

import (
	"fmt"
	"math"
)

// MuonConstants are the numbers of Muon's input of constants, in their order there.
type MuonConstants struct {
	Scale    float64 // factor of the gradient
	Momentum float64 // what the moment keeps
	Keep     float64 // factor of the parameters: 1 less the weight decay
	Rate     float64 // learning rate, the factor of the matrix's shape included
}

// MuonNumbers is how many they are.
const MuonNumbers = 4

// The quintic a·x + b·x³ + c·x⁵ by which the iteration brings singular values towards 1, and how often: those of
// Jordan et al. 2024 ("Muon: an optimizer for hidden layers in neural networks"), which torch.optim.Muon has too.
const (
	muonA, muonB, muonC = 3.4445, -4.7750, 2.0315
	muonTimes           = 5
)

// MuonMoment: m [K,N] (State), gradient [K,N], constants f64 [MuonNumbers,1] → direction [K,N]. With g =
// Scale·gradient, m ← Momentum·m + (1−Momentum)·g, and the direction is Momentum·m + (1−Momentum)·g (Nesterov),
// computed in F64.
var MuonMoment = register(&Op{Name: "muon_moment", Outs: 1, Updates: []int{0}, NoGrad: true, shape: shapeMuonMoment})

// MuonUnit: x [K,N], the f64 [1,N] of its rows' Σx² → x over its norm, which counts as 1e-7 at least.
var MuonUnit = register(&Op{Name: "muon_unit", Outs: 1, Overwrites: []int{0}, NoGrad: true, shape: shapeMuonUnit})

// Gram: x [K,N] → [K,K], Σ_n x_n x_nᵀ.
var Gram = register(&Op{Name: "gram", Outs: 1, NoGrad: true, shape: shapeGram})

// Muon: x [K,N] (a Master), direction [K,N], constants, key → [1,N], 0 where all of a row is finite after the update,
// no number elsewhere: x ← Keep·x − Rate·direction.
var Muon = register(&Op{Name: "muon", Outs: 1, Updates: []int{0}, NoGrad: true, shape: shapeMuon})

// Muon updates x and its moment m by a gradient, and tells the rows that are no longer finite. The caller's Rate must
// hold MuonGain.
func (g *Graph) Muon(x Master, m, gradient, constants ID) ID {
	u := g.emit(Node{Op: MuonMoment, In: []ID{m, gradient, constants}, Acc: None})[0]
	u = g.orthogonal(g.emit(Node{Op: MuonUnit, In: []ID{u, g.Squares(u)}, Acc: None})[0])
	return g.emit(Node{Op: Muon, In: []ID{x.X, u, constants, x.Key}, Acc: None})[0]
}

// MuonGain is what the direction that Muon takes must still be multiplied with.
func MuonGain() float64 { return math.Pow(muonA, muonTimes) }

// orthogonal is x with singular values near 1, over MuonGain: X ← a·X + (b·G + c·G²)·X, G = X·Xᵀ, on the matrix's
// smaller side, several times. A product has a factor, and what it starts from has none, so that the a's are left to
// the end.
func (g *Graph) orthogonal(x ID) ID {
	if g.err != nil {
		return None
	}
	s, gain := g.shape(x), 1.0
	for range muonTimes {
		b := muonB * gain * gain / muonA
		c := muonC * gain * gain / muonB
		if s[0] < s[1] {
			square := g.emit(Node{Op: Gram, In: []ID{x}, Acc: None})[0]
			x = g.Linear(g.Linear(square, square, None, square, c), x, None, x, b)
		} else {
			square := g.Linear(x, x, None, None, 1)
			y := g.Linear(square, square, None, square, c)
			x = g.emit(Node{Op: LinearT, In: []ID{x, y}, Acc: x, Attr: LinearAttr{Scale: b}})[0]
		}
		gain *= muonA
	}
	return x
}

func shapeMuonMoment(g *Graph, n *Node) ([]Shape, error) {
	m := g.shape(n.In[0])
	if d := g.shape(n.In[1]); d != m {
		return nil, fmt.Errorf("moment %v beside gradient %v", m, d)
	}
	return []Shape{m}, wantConstants(g, n.In[2], MuonNumbers)
}

func shapeMuonUnit(g *Graph, n *Node) ([]Shape, error) {
	x, sums := g.shape(n.In[0]), g.Value(n.In[1])
	ok := sums.Type == F64 && sums.Shape == Matrix(1, x[1])
	return []Shape{x}, want(ok, "sums %v of type %d, want %v of f64", sums.Shape, sums.Type, Matrix(1, x[1]))
}

func shapeGram(g *Graph, n *Node) ([]Shape, error) {
	k := g.shape(n.In[0])[0]
	return []Shape{Matrix(k, k)}, nil
}

func shapeMuon(g *Graph, n *Node) ([]Shape, error) {
	return shapeUpdate(g, n.In[0], n.In[3], n.In[1:2], n.In[2], MuonNumbers)
}
