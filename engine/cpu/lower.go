package cpu

import (
	"fmt"

	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine/graph"
)

// lower turns g into calls. Values of keep are exported beside the outputs. exact asks for products of f32 throughout;
// otherwise activations are packed for the fastest product the CPU has.
func lower(g *graph.Graph, keep []graph.ID, exact bool) (*program, error) {
	if g.Err() != nil {
		return nil, g.Err()
	}
	l := &lowering{program: program{graph: g, slotOf: make([]int, len(g.Values))}, exact: exact,
		packed: map[graph.ID]int{}}
	l.exports = append(append([]graph.ID(nil), g.Outputs...), keep...)
	l.measureLives()
	l.findWide()
	l.fuse()
	l.spareRows()
	l.shareSlots()
	for l.at = range g.Nodes {
		if l.left[l.at] {
			continue
		}
		emitters[g.Nodes[l.at].Op].calls(l, &g.Nodes[l.at])
		wide, _ := l.joined(&g.Nodes[l.at]) // nearly all of a joined call's work
		for len(l.phases) < len(l.calls) {
			l.phases = append(l.phases, emitters[wide.Op].phase(g, wide))
		}
	}
	l.checkOutputs()
	if l.err != nil {
		return nil, l.err
	}
	l.place()
	return &l.program, nil
}

type lowering struct {
	program
	exact    bool
	lastUse  []int // of each value: the last node that reads it, or -1
	exported []bool
	packed   map[graph.ID]int // of a value: the slot of its packed form
	wide     []bool           // values that a product wide enough to repay packing takes
	spared   []bool           // gathered rows that are packed from where they come from
	partner  []int            // of each node: the product joined with it, or -1
	left     []bool           // nodes joined with a later one
	at       int              // the node being emitted
	err      error
}

func (l *lowering) measureLives() {
	g := l.graph
	l.lastUse = make([]int, len(g.Values))
	l.exported = make([]bool, len(g.Values))
	for i := range l.lastUse {
		l.lastUse[i] = -1
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		for _, in := range append(n.In[:len(n.In):len(n.In)], n.Acc) {
			if in != graph.None {
				l.lastUse[in] = i
			}
		}
	}
	for _, id := range l.exports {
		l.exported[id] = true
	}
}

// shareSlots gives every value its slot. A value takes over the slot of the value it starts from (or overwrites) when
// nothing else needs that one any more; going backwards, so that a chain of sums ends in the memory of its result.
func (l *lowering) shareSlots() {
	g := l.graph
	for i := range l.slotOf {
		l.slotOf[i] = -1
	}
	for i := range g.Values {
		if id := graph.ID(i); g.Values[i].Kind != graph.Temp || l.exported[i] {
			l.slotOf[i] = l.newSlot(id, g.Values[i].Bytes())
		}
	}
	for i := len(g.Nodes) - 1; i >= 0; i-- {
		if l.left[i] {
			continue
		}
		n := &g.Nodes[i]
		for _, out := range n.Out {
			if out != graph.None && l.slotOf[out] < 0 {
				l.slotOf[out] = l.newSlot(graph.None, g.Values[out].Bytes())
			}
		}
		over := n.Op.Overwrites
		if over == nil {
			l.take(l.accOf(i), n, 0, i)
			continue
		}
		for out, k := range over {
			l.take(n.In[k], n, out, i)
		}
	}
}

// accOf is the value that node i starts from, with the node joined to it.
func (l *lowering) accOf(i int) graph.ID {
	if k := l.partner[i]; k >= 0 {
		return l.graph.Nodes[k].Acc
	}
	return l.graph.Nodes[i].Acc
}

// take lets output out of node i live where from does, if it may.
func (l *lowering) take(from graph.ID, n *graph.Node, out, i int) {
	if from != graph.None && n.Out[out] != graph.None && l.canTake(from, n, i) {
		l.slotOf[from] = l.slotOf[n.Out[out]]
	}
}

// canTake says whether an output of node i may live where from does.
func (l *lowering) canTake(from graph.ID, n *graph.Node, i int) bool {
	v := l.graph.Value(from)
	if v.Kind != graph.Temp || l.exported[from] || l.lastUse[from] != i || l.slotOf[from] >= 0 {
		return false
	}
	reads := append(n.In[:len(n.In):len(n.In)], n.Acc)
	if k := l.partner[i]; k >= 0 {
		reads = append(append(reads, l.graph.Nodes[k].In...), l.graph.Nodes[k].Acc)
	}
	uses := 0
	for _, in := range reads {
		if in == from {
			uses++
		}
	}
	return uses == 1
}

func (l *lowering) newSlot(value graph.ID, bytes int64) int {
	l.slots = append(l.slots, slot{value: value, bytes: bytes, first: -1})
	return len(l.slots) - 1
}

// checkOutputs refuses outputs that no node computes: nothing would write their memory.
func (l *lowering) checkOutputs() {
	for _, id := range l.graph.Outputs {
		if v := l.graph.Value(id); v.Kind != graph.Temp {
			l.err = fmt.Errorf("engine: graph output %q is not computed by the graph", v.Name)
		}
	}
}

// call appends a kernel call on views.
func call[K any](l *lowering, kernel kernels.Kernel[K], constants K, views ...view) {
	c := kernel.Call(constants)
	c.NArgs = int32(len(views))
	var as [kernels.MaxArgs]arg
	at := len(l.calls)
	for k, v := range views {
		as[k] = arg{slot: v.slot, shift: v.shift}
		if v.slot < 0 {
			continue
		}
		c.A[k] = kernels.Matrix(nil, v.typ, v.ne0, v.ne1, v.nb1)
		s := &l.slots[v.slot]
		if s.first < 0 {
			s.first = at
		}
		s.last = at
	}
	l.calls = append(l.calls, c)
	l.args = append(l.args, as)
}

// A view is how a call sees a slot. nb1 0 stands for the row size that is bound with a weight.
type view struct {
	slot          int
	shift         int64 // bytes
	ne0, ne1, nb1 int64
	typ           kernels.Type
}

var absent = view{slot: -1}

// whole sees all of a value: rows one after the other, whatever the dimensions above them.
func (l *lowering) whole(id graph.ID) view {
	if id == graph.None {
		return absent
	}
	v := l.graph.Value(id)
	nb1 := int64(0)
	switch {
	case v.Row > 0:
		nb1 = v.Row
	case v.Kind != graph.Weight:
		nb1 = v.Shape[0] * graph.TypeBytes(v.Type)
	}
	return view{slot: l.slotOf[id], ne0: v.Shape[0], ne1: v.Shape[1] * v.Shape[2], nb1: nb1, typ: kernels.Type(v.Type)}
}

// cut sees a value's rows cut into pieces of n elements.
func (l *lowering) cut(id graph.ID, n int64) view {
	v := l.whole(id)
	v.ne0, v.ne1, v.nb1 = n, v.ne0/n*v.ne1, n*4
	return v
}

// part sees columns [off, off+width) of a value.
func (l *lowering) part(id graph.ID, off, width int64) view {
	v := l.whole(id)
	v.shift, v.ne0 = off*4, width
	return v
}

// flat sees a value of one element a row as one row: how kernels take lists of indices and numbers.
func (l *lowering) flat(id graph.ID) view {
	v := l.whole(id)
	v.ne0, v.ne1 = v.ne0*v.ne1, 1
	v.nb1 = v.ne0 * 4
	return v
}

// span sees elements [from, from+n) of a flat view.
func (v view) span(from, n int64) view {
	if v.slot < 0 {
		return v
	}
	v.shift += from * 4
	v.ne0, v.nb1 = n, n*4
	return v
}

// rows sees rows [from, from+n) of a view.
func (v view) rows(from, n int64) view {
	if v.slot < 0 {
		return v
	}
	v.shift += from * v.nb1
	v.ne1 = n
	return v
}

// start puts the value that node's first output starts from into its slot, and returns the kernels' acc flag.
func (l *lowering) start(n *graph.Node) bool {
	acc := l.accOf(l.at)
	if acc == graph.None {
		return false
	}
	if l.slotOf[acc] != l.slotOf[n.Out[0]] {
		call(l, kernels.OpCopy, kernels.CopyConstants{}, l.whole(n.Out[0]), l.whole(acc))
	}
	return true
}

// operand sees a product's activations as it takes them: a thin product takes them packed where they are anyway, an
// exact one never.
func (l *lowering) operand(n *graph.Node) view {
	if exactly(n) {
		return l.whole(n.In[1])
	}
	return l.packing(n.In[1], func(to, v view) { call(l, kernels.OpPack, kernels.None{}, to, v) })
}

// packing sees activations as products take them, and has pack fill the packed ones where nothing has yet.
func (l *lowering) packing(x graph.ID, pack func(to, v view)) view {
	v := l.whole(x)
	if l.exact || !l.wide[x] {
		return v
	}
	to := view{ne0: v.ne0, ne1: v.ne1, typ: kernels.Packed}
	at, ok := l.packed[x]
	if !ok {
		at = l.newSlot(graph.None, kernels.PackedBytes(v.ne0, v.ne1))
		l.packed[x] = at
	}
	if to.slot = at; !ok {
		pack(to, v)
	}
	return to
}

// packFrom is the smallest side of a weight whose products repay packing.
const packFrom = 32

func (l *lowering) findWide() {
	l.wide = make([]bool, len(l.graph.Values))
	for i := range l.graph.Nodes {
		n := &l.graph.Nodes[i]
		if product(n) && l.side(n) >= packFrom && !exactly(n) {
			l.wide[n.In[1]] = true
		}
	}
}

// side is the smaller side of a product's weight.
func (l *lowering) side(n *graph.Node) int64 {
	w := l.graph.Value(n.In[0])
	return min(w.Shape[0], w.Shape[1])
}
