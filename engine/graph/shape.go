package graph

import "fmt"

func shapeNone(*Graph, *Node) ([]Shape, error) { return nil, nil }

// shapeOf gives the shapes of the inputs listed.
func shapeOf(in ...int) func(*Graph, *Node) ([]Shape, error) {
	return func(g *Graph, n *Node) ([]Shape, error) {
		out := make([]Shape, len(in))
		for i, k := range in {
			out[i] = g.shape(n.In[k])
		}
		return out, nil
	}
}

// shapeSame wants the listed inputs alike and gives their shape.
func shapeSame(a, b int) func(*Graph, *Node) ([]Shape, error) {
	return func(g *Graph, n *Node) ([]Shape, error) {
		if g.shape(n.In[a]) != g.shape(n.In[b]) {
			return nil, fmt.Errorf("shapes %v and %v differ", g.shape(n.In[a]), g.shape(n.In[b]))
		}
		return []Shape{g.shape(n.In[a])}, nil
	}
}

func want(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}

func shapeLinear(g *Graph, n *Node) ([]Shape, error) {
	w, x, b := g.shape(n.In[0]), g.shape(n.In[1]), n.In[2]
	if w[0] != x[0] {
		return nil, fmt.Errorf("weight takes %d inputs, rows have %d", w[0], x[0])
	}
	if b != None && g.shape(b)[0] != w[1] {
		return nil, fmt.Errorf("bias has %d elements, outputs are %d", g.shape(b)[0], w[1])
	}
	return []Shape{{w[1], x[1]}}, nil
}

func shapeLinearT(g *Graph, n *Node) ([]Shape, error) {
	w, dy := g.shape(n.In[0]), g.shape(n.In[1])
	return []Shape{{w[0], dy[1]}}, want(w[1] == dy[0], "weight has %d outputs, rows have %d", w[1], dy[0])
}

func shapeSlice(g *Graph, n *Node) ([]Shape, error) {
	x, a := g.shape(n.In[0]), n.Attr
	ok := a.Offset >= 0 && a.Width > 0 && a.Offset+a.Width <= x[0]
	return []Shape{{a.Width, x[1]}}, want(ok, "elements %d..%d of rows of %d", a.Offset, a.Offset+a.Width, x[0])
}

func shapeUnslice(g *Graph, n *Node) ([]Shape, error) {
	x, a := g.shape(n.In[0]), n.Attr
	return []Shape{{a.Width, x[1]}}, want(a.Offset+x[0] <= a.Width, "%d elements at %d of rows of %d", x[0], a.Offset, a.Width)
}

func shapeNorm(g *Graph, n *Node) ([]Shape, error) {
	x, w := g.shape(n.In[0]), g.shape(n.In[1])
	ok := w[0] > 0 && x[0]%w[0] == 0 && (n.Op == OpRMSNorm || x[0] == w[0])
	return []Shape{x}, want(ok, "rows of %d, weight of %d", x[0], w[0])
}

func shapeRope(g *Graph, n *Node) ([]Shape, error) {
	x, pos, f, a := g.shape(n.In[0]), g.shape(n.In[1]), n.In[2], n.Attr
	switch {
	case x[0] != int64(a.Heads*a.HeadDim):
		return nil, fmt.Errorf("rows of %d, want %d heads of %d", x[0], a.Heads, a.HeadDim)
	case pos[1] != x[1]:
		return nil, fmt.Errorf("%d positions for %d tokens", pos[1], x[1])
	case a.Rope.Dim > a.HeadDim || a.Rope.Dim%2 != 0:
		return nil, fmt.Errorf("rotates %d elements of heads of %d", a.Rope.Dim, a.HeadDim)
	case f != None && g.shape(f)[0] != int64(a.Rope.Dim/2):
		return nil, fmt.Errorf("%d frequency factors, want %d", g.shape(f)[0], a.Rope.Dim/2)
	}
	return []Shape{x}, nil
}

func shapeAttention(g *Graph, n *Node) ([]Shape, error) {
	q, k, v, a := g.shape(n.In[0]), g.shape(n.In[1]), g.shape(n.In[2]), n.Attr
	switch {
	case a.KVHeads <= 0 || a.Heads%a.KVHeads != 0:
		return nil, fmt.Errorf("%d heads over %d key heads", a.Heads, a.KVHeads)
	case q[0] != int64(a.Heads*a.HeadDim) || k[0] != int64(a.KVHeads*a.HeadDim) || k != v || k[1] != q[1]:
		return nil, fmt.Errorf("q %v, k %v, v %v with heads %d/%d of %d", q, k, v, a.Heads, a.KVHeads, a.HeadDim)
	}
	return []Shape{q, {int64(a.Heads), q[1]}}, nil
}

func shapeDelta(g *Graph, n *Node) ([]Shape, error) {
	o, do := g.shape(n.In[0]), g.shape(n.In[1])
	return []Shape{{int64(n.Attr.Heads), o[1]}}, want(o == do, "shapes %v and %v differ", o, do)
}

func shapeRows(g *Graph, n *Node) ([]Shape, error) {
	return []Shape{{g.shape(n.In[0])[0], g.shape(n.In[1])[1]}}, nil
}

func shapeScatter(g *Graph, n *Node) ([]Shape, error) {
	dy, ids := g.shape(n.In[0]), g.shape(n.In[1])
	return []Shape{{dy[0], n.Attr.Width}}, want(dy[1] == ids[1], "%d rows, %d indices", dy[1], ids[1])
}

func shapeHead(g *Graph, n *Node) ([]Shape, error) {
	h, w, t, h2, w2 := g.shape(n.In[0]), g.shape(n.In[1]), g.shape(n.In[2]), g.shape(n.In[3]), g.shape(n.In[4])
	switch {
	case h[0] != w[0]:
		return nil, fmt.Errorf("head takes %d inputs, rows have %d", w[0], h[0])
	case t[1] != h[1]:
		return nil, fmt.Errorf("%d targets for %d tokens", t[1], h[1])
	case n.In[4] != None && (h2[0] != w2[0] || w2[1] != w[1] || h2[1] != h[1]):
		return nil, fmt.Errorf("second pair %v, %v beside %v, %v", h2, w2, h, w)
	}
	out := []Shape{{1, h[1]}, {1, h[1]}, {}, {}}
	if n.Attr.WithMean {
		out[2] = h
		if n.In[4] != None {
			out[3] = h2
		}
	}
	return out, nil
}

func shapeHeadBack(g *Graph, n *Node) ([]Shape, error) {
	out := []Shape{g.shape(n.In[3]), {}}
	if n.In[5] != None {
		out[1] = g.shape(n.In[5])
	}
	return out, nil
}
