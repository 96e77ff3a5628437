package graph

import (
	"fmt"
	"math"
)

// A TimesAttr holds the constants of Times.
type TimesAttr struct {
	Factor float64
}

// Times: x, s [1] or None → factor·s·x. s is a constant: no gradient of it is given.
var Times = register(&Op{Name: "times", Outs: 1, Cheap: true, Overwrites: []int{0}, Deep: true, shape: shapeTimes,
	back: backTimes})

// Times multiplies by a constant.
func (g *Graph) Times(x ID, factor float64) ID {
	return g.emit(Node{Op: Times, In: []ID{x, None}, Acc: None, Attr: TimesAttr{factor}})[0]
}

// TimesNumber multiplies by the one number of s.
func (g *Graph) TimesNumber(x, s ID) ID {
	return g.emit(Node{Op: Times, In: []ID{x, s}, Acc: None, Attr: TimesAttr{1}})[0]
}

func backTimes(r *reverse, n *Node) {
	if r.needs[n.In[0]] {
		r.pass(n.In[0], r.out.emit(Node{Op: n.Op, In: []ID{r.grad[n.Out[0]], r.need(n.In[1])}, Acc: None,
			Attr: n.Attr})[0])
	}
}

func shapeTimes(g *Graph, n *Node) ([]Shape, error) {
	f, s := n.Attr.(TimesAttr).Factor, n.In[1]
	if s != None && g.shape(s) != Matrix(1, 1) {
		return nil, fmt.Errorf("multiplies by one number, not %v", g.shape(s))
	}
	if s != None && trained(g.Value(s)) {
		return nil, fmt.Errorf("%q is trained, and would get no gradient", g.Value(s).Name)
	}
	return []Shape{g.shape(n.In[0])}, want(!math.IsNaN(f) && !math.IsInf(f, 0), "multiplies by %g", f)
}
