package cpu

import "github.com/ggtune/ggtune/engine/graph"

// fuse joins products that add to each other, such as a LoRA pair's thin product and the base's wide one: they become
// one call, which writes their sum once. Of two joined nodes the second keeps its place and the first is left out.
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
		if m := &g.Nodes[i]; m.Op == n.Op && !biased(l.lesser(m, n)) && alike(m, n) {
			l.partner[j], l.left[i] = i, true
			// what the first reads is read when the second runs
			for _, in := range append(m.In[:len(m.In):len(m.In)], m.Acc) {
				if in != graph.None {
					l.lastUse[in] = max(l.lastUse[in], j)
				}
			}
		}
	}
}

func product(n *graph.Node) bool {
	return n.Op == graph.Linear || n.Op == graph.LinearT || withExperts(n)
}

func biased(n *graph.Node) bool {
	return (n.Op == graph.Linear || n.Op == graph.Experts) && n.In[2] != graph.None
}

// alike says whether two products of one kind are as exact and have, if with experts, their rows sorted alike.
func alike(m, n *graph.Node) bool {
	return exactly(m) == exactly(n) && (!withExperts(n) || startsOf(m) == startsOf(n))
}

// exactly says whether a product is to be made of f32 in every mode.
func exactly(n *graph.Node) bool { return n.Attr.(graph.LinearAttr).Exact }

// lesser is which of two joined products comes second in their call: a LoRA pair's, else the thinner one, and of equals
// the first.
func (l *lowering) lesser(m, n *graph.Node) *graph.Node {
	pairM, pairN := l.graph.Value(m.In[0]).Delta, l.graph.Value(n.In[0]).Delta
	if pairN && !pairM || pairN == pairM && l.side(n) < l.side(m) {
		return n
	}
	return m
}

// joined gives the two halves of the product at hand: the wide one (or the only one) and the other or nil.
func (l *lowering) joined(n *graph.Node) (wide, thin *graph.Node) {
	i := l.partner[l.at]
	if i < 0 {
		return n, nil
	}
	m := &l.graph.Nodes[i]
	if thin = l.lesser(m, n); thin == m {
		return n, m
	}
	return m, n
}
