package graph

import "fmt"

// AdamW8Block is the most numbers of a row of AdamW8, and AdamW8Codes how many codes there are.
const (
	AdamW8Block = 256
	AdamW8Codes = 256
)

// AdamW8: x [n,R] (a Master, n at most AdamW8Block), codes of m and v i32 [⌈n/4⌉,R], a byte each, their largest [1,R]
// (States), gradient [n,R], constants as AdamW's, tables [AdamW8Codes,2] of m and v, key → [1,R] as AdamW's. A moment
// is its code's number in the table times the largest of its row, which is a block (Dettmers et al. 2022); the rest is
// AdamW. A first moment below zero and a second one above do not become zero.
var AdamW8 = register(&Op{Name: "adamw8", Outs: 1, Updates: []int{0, 1, 2, 3, 4}, NoGrad: true, shape: shapeAdamW8})

// AdamW8Inputs are what AdamW8 reads, and of them it brings all but the last three up to date.
type AdamW8Inputs struct {
	X                           Master
	M, V, MostM, MostV          ID
	Gradient, Constants, Tables ID
}

// AdamW8 updates x and its moments by a gradient, and tells the rows that are no longer finite.
func (g *Graph) AdamW8(in AdamW8Inputs) ID {
	return g.emit(Node{Op: AdamW8, In: []ID{in.X.X, in.M, in.V, in.MostM, in.MostV, in.Gradient, in.Constants,
		in.Tables, in.X.Key}, Acc: None})[0]
}

func shapeAdamW8(g *Graph, n *Node) ([]Shape, error) {
	x, err := shapeMaster(g, n.In[0], n.In[8])
	if err != nil {
		return nil, err
	}
	codes, most := Matrix((x[0]+3)/4, x[1]), Matrix(1, x[1])
	for i, want := range []Shape{x, codes, codes, most, most, x} {
		if got := g.shape(n.In[i]); got != want {
			return nil, fmt.Errorf("parameters %v beside %v, want %v", x, got, want)
		}
	}
	if x[0] > AdamW8Block || g.shape(n.In[7]) != Matrix(AdamW8Codes, 2) {
		return nil, fmt.Errorf("blocks of %d, tables %v; want at most %d, and two of %d", x[0], g.shape(n.In[7]),
			AdamW8Block, AdamW8Codes)
	}
	return []Shape{most}, wantConstants(g, n.In[6], AdamWNumbers)
}
