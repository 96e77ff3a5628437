package graph

import "math"

// A TimesAttr holds the constants of Times.
type TimesAttr struct {
	Factor float64
}

// Times: x → factor·x.
var Times = register(&Op{Name: "times", Outs: 1, Cheap: true, Overwrites: []int{0}, Deep: true, shape: shapeTimes,
	back: backTimes})

// Times multiplies by a constant.
func (g *Graph) Times(x ID, factor float64) ID {
	return g.emit(Node{Op: Times, In: []ID{x}, Acc: None, Attr: TimesAttr{factor}})[0]
}

func backTimes(r *reverse, n *Node) {
	if r.needs[n.In[0]] {
		r.pass(n.In[0], r.out.emit(Node{Op: n.Op, In: []ID{r.grad[n.Out[0]]}, Acc: None, Attr: n.Attr})[0])
	}
}

func shapeTimes(g *Graph, n *Node) ([]Shape, error) {
	f := n.Attr.(TimesAttr).Factor
	return []Shape{g.shape(n.In[0])}, want(!math.IsNaN(f) && !math.IsInf(f, 0), "multiplies by %g", f)
}
