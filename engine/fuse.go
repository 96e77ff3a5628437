package engine

import "github.com/ggtune/ggtune/engine/graph"

// fuse joins products that add to each other: a LoRA pair's thin product and the base's wide one become one call, which
// writes their sum once. Of two joined nodes the second keeps its place and the first is left out.
//
// It finds y = big + small, where one of the two starts from the other (Node.Acc) and nothing else reads the first.
func (l *lowering) fuse() {
	g := l.graph
	uses := make([]int, len(g.Values))
	for i := range g.Nodes {
		n := &g.Nodes[i]
		for _, in := range append(n.In[:len(n.In):len(n.In)], n.Acc) {
			if in != graph.None {
				uses[in]++
			}
		}
	}
	l.partner = make([]int, len(g.Nodes))
	l.left = make([]bool, len(g.Nodes))
	for i := range l.partner {
		l.partner[i] = -1
	}
	for j := range g.Nodes {
		n := &g.Nodes[j]
		if n.Acc == graph.None || !product(n) {
			continue
		}
		i := g.Producer(n.Acc)
		if i < 0 || l.partner[i] >= 0 || uses[n.Acc] != 1 || l.exported[n.Acc] {
			continue
		}
		if m := &g.Nodes[i]; m.Op == n.Op && l.thin(m) != l.thin(n) && !(l.thin(m) && biased(m)) && !(l.thin(n) && biased(n)) {
			l.partner[j], l.left[i] = i, true
			for _, in := range append(m.In[:len(m.In):len(m.In)], m.Acc) { // what the first reads is read when the second runs
				if in != graph.None {
					l.lastUse[in] = max(l.lastUse[in], j)
				}
			}
		}
	}
}

func product(n *graph.Node) bool { return n.Op == graph.OpLinear || n.Op == graph.OpLinearT }

func biased(n *graph.Node) bool { return n.Op == graph.OpLinear && n.In[2] != graph.None }

// thin says whether a product is small enough to take its activations as they are, in f32.
func (l *lowering) thin(n *graph.Node) bool {
	w := l.graph.Value(n.In[0])
	return min(w.Shape[0], w.Shape[1]) < packFrom
}

// joined gives the two halves of the product at hand: the wide one (or the only one) and the thin one or nil.
func (l *lowering) joined(n *graph.Node) (wide, thin *graph.Node) {
	i := l.partner[l.at]
	switch {
	case i < 0:
		return n, nil
	case l.thin(n):
		return &l.graph.Nodes[i], n
	}
	return n, &l.graph.Nodes[i]
}
