package graph

import "fmt"

// Rotary holds the parameters of the rotary embedding, named as in llama.cpp.
type Rotary struct {
	FreqBase, FreqScale, ExtFactor, AttnFactor, BetaFast, BetaSlow float64
	Dim                                                            int // rotated elements of a head (n_rot)
	Neox                                                           bool
	CtxOrig                                                        int
	// A head at position p is multiplied by 1 + Temp·ln(1 + ⌊p/TempLen⌋), a temperature of its scores; Temp 0: by 1.
	Temp    float64
	TempLen int
}

// A RopeAttr holds the constants of Rope.
type RopeAttr struct {
	Rotary
	Heads, HeadDim int
	Inverse        bool // rotate back
}

// Rope: x [HeadDim·Heads,T], pos i32 [1,T], frequency factors [Dim/2] or None → x rotated by its position.
var Rope = register(&Op{Name: "rope", Outs: 1, Cheap: true, Overwrites: []int{0}, shape: shapeRope, back: backRope})

// Rope rotates every head of x by its token's position; factors (or None) divide the frequencies.
func (g *Graph) Rope(x, pos, factors ID, heads, headDim int, p Rotary) ID {
	a := RopeAttr{Rotary: p, Heads: heads, HeadDim: headDim}
	return g.emit(Node{Op: Rope, In: []ID{x, pos, factors}, Acc: None, Attr: a})[0]
}

// A rotation's transpose is its inverse; what it multiplies by stays.
func backRope(r *reverse, n *Node) {
	if !r.needs[n.In[0]] {
		return
	}
	a := n.Attr.(RopeAttr)
	a.Inverse = !a.Inverse
	in := []ID{r.grad[n.Out[0]], r.need(n.In[1]), r.need(n.In[2])}
	r.pass(n.In[0], r.out.emit(Node{Op: n.Op, In: in, Acc: None, Attr: a})[0])
}

func shapeRope(g *Graph, n *Node) ([]Shape, error) {
	x, pos, f, a := g.shape(n.In[0]), g.shape(n.In[1]), n.In[2], n.Attr.(RopeAttr)
	switch {
	case x[0] != int64(a.Heads*a.HeadDim):
		return nil, fmt.Errorf("rows of %d, want %d heads of %d", x[0], a.Heads, a.HeadDim)
	case pos[1] != x[1]:
		return nil, fmt.Errorf("%d positions for %d tokens", pos[1], x[1])
	case a.Dim > a.HeadDim || a.Dim%2 != 0:
		return nil, fmt.Errorf("rotates %d elements of heads of %d", a.Dim, a.HeadDim)
	case a.Temp != 0 && a.TempLen < 1:
		return nil, fmt.Errorf("a temperature that changes every %d positions", a.TempLen)
	case f != None && g.shape(f)[0] != int64(a.Dim/2):
		return nil, fmt.Errorf("%d frequency factors, want %d", g.shape(f)[0], a.Dim/2)
	}
	return []Shape{x}, nil
}
