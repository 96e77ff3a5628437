package cpu

import (
	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
)

var _ = emit(graph.Gather, rest, gather)

// gather gives choices their tokens' rows, unless products pack them straight from where they lie.
func gather(l *lowering, n *graph.Node) {
	if !l.spared[n.Out[0]] {
		call(l, kernels.OpRows, kernels.None{}, l.whole(n.Out[0]), l.whole(n.In[0]), l.flat(n.In[1]))
	}
}

var _ = emit(graph.Experts, productPhase(backend.PhaseLinearForward), func(l *lowering, n *graph.Node) {
	acc := l.start(n)
	wide, thin := l.joined(n)
	l.experts(kernels.OpExperts, acc, wide, thin, l.whole(wide.In[2]))
})

var _ = emit(graph.ExpertsT, productPhase(backend.PhaseLinearBackward), func(l *lowering, n *graph.Node) {
	acc := l.start(n)
	wide, thin := l.joined(n)
	l.experts(kernels.OpExpertsT, acc, wide, thin, absent)
})

// experts emits a product with experts and, in the same call, the one joined with it.
func (l *lowering) experts(op kernels.Kernel[kernels.ExpertsConstants], acc bool, wide, thin *graph.Node, bias view) {
	k := kernels.ExpertsConstants{Scale: wide.Attr.(graph.LinearAttr).Scale, Acc: acc}
	x := l.rowsOperand(wide)
	views := []view{l.whole(l.graph.Nodes[l.at].Out[0]), x, l.whole(wide.In[0]), bias, absent, absent,
		l.flat(startsOf(wide))}
	if thin != nil {
		k.Scale2 = thin.Attr.(graph.LinearAttr).Scale
		views[4], views[5] = l.rowsOperand(thin), l.whole(thin.In[0])
	}
	call(l, op, k, views...)
}

// startsOf is where experts' rows begin in a product with experts.
func startsOf(n *graph.Node) graph.ID { return n.In[len(n.In)-1] }

// withExperts says whether n is a product with experts.
func withExperts(n *graph.Node) bool { return n.Op == graph.Experts || n.Op == graph.ExpertsT }

// rowsOperand is operand of a product with experts, whose rows are packed expert by expert.
func (l *lowering) rowsOperand(n *graph.Node) view {
	x := n.In[1]
	return l.packing(x, func(to, src view) {
		from := absent
		if l.spared[x] {
			made := &l.graph.Nodes[l.graph.Producer(x)]
			src, from = l.whole(made.In[0]), l.flat(made.In[1])
		}
		call(l, kernels.OpExpertsPack, kernels.None{}, to, src, from, l.flat(startsOf(n)))
	})
}

// spareRows finds the gathered rows that only products with experts read, packed: they are never written, and what they
// are gathered from lives until they are packed.
func (l *lowering) spareRows() {
	g := l.graph
	l.spared = make([]bool, len(g.Values))
	if l.exact {
		return
	}
	for i := range g.Nodes {
		if n := &g.Nodes[i]; (n.Op == graph.Gather || n.Op == graph.Rows) && g.Value(n.In[0]).Kind != graph.Weight {
			l.spared[n.Out[0]] = l.wide[n.Out[0]] && !l.exported[n.Out[0]]
		}
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		for k, in := range append(n.In[:len(n.In):len(n.In)], n.Acc) {
			if in != graph.None && !(withExperts(n) && k == 1) {
				l.spared[in] = false
			}
		}
	}
	for i := range g.Nodes {
		if n := &g.Nodes[i]; len(n.Out) > 0 && n.Out[0] != graph.None && l.spared[n.Out[0]] {
			for _, in := range n.In[:2] {
				l.lastUse[in] = max(l.lastUse[in], l.lastUse[n.Out[0]])
			}
		}
	}
}

var _ = emit(graph.ExpertsOuter, outerPhase, func(l *lowering, n *graph.Node) {
	k := kernels.ExpertsOuterConstants{Scale: n.Attr.(graph.LinearAttr).Scale, Fast: !l.exact}
	call(l, kernels.OpExpertsOuter, k, l.whole(n.Out[0]), l.whole(n.In[0]), l.whole(n.In[1]), l.flat(n.In[2]))
})

var _ = emit(graph.ExpertsBiasGrad, rest, func(l *lowering, n *graph.Node) {
	call(l, kernels.OpExpertsBiasGrad, kernels.None{}, l.whole(n.Out[0]), l.whole(n.In[0]), l.flat(n.In[1]))
})
