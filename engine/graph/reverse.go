package graph

// A Backward is the backward pass of a forward graph, as a graph of its own. It reads the forward graph's bound values,
// the values of Keep (as Saved) and the gradients of the forward graph's outputs (Inputs named GradName(output name));
// whatever else it needs it computes again. It adds the gradients of the Params met to Grads and gives those of the
// wanted inputs as outputs, in the order asked.
type Backward struct {
	Graph *Graph
	// Keep lists the forward values that Graph reads as Saved.
	Keep []ID
}

// GradName is the name under which the gradient of the forward graph's i-th output is bound.
func GradName(i int) string { return "grad_output_" + string(rune('0'+i)) }

// Differentiate builds the backward pass of f. wanted names the inputs whose gradients are given. keep chooses between
// speed and memory: true keeps every value that is costly to compute again (products and attention), false keeps
// nothing but what f's inputs hold, and the backward graph repeats f. Values of always are kept either way. It returns
// nil when nothing in f is trained and nothing is wanted.
func Differentiate(f *Graph, wanted []ID, keep bool, always ...ID) (*Backward, error) {
	if f.err != nil {
		return nil, f.err
	}
	needs := dependents(f, wanted)
	if keep {
		always = append(always, costly(f, wanted, needs)...)
	}
	r := reversed(f, wanted, needs, always)
	if r.out.err != nil {
		return nil, r.out.err
	}
	if len(r.out.Nodes) == 0 && len(r.out.Outputs) == 0 {
		return nil, nil
	}
	kept := make([]ID, 0, len(always))
	for _, v := range r.out.Values {
		if v.Kind == Saved {
			kept = append(kept, v.Ref)
		}
	}
	return &Backward{Graph: r.out, Keep: kept}, nil
}

// dependents marks the values that a Param or a wanted input flows into.
func dependents(f *Graph, wanted []ID) []bool {
	needs := make([]bool, len(f.Values))
	for i := range f.Values {
		needs[i] = trained(&f.Values[i])
	}
	for _, id := range wanted {
		needs[id] = true
	}
	for i := range f.Nodes {
		n := &f.Nodes[i]
		any := n.Acc != None && needs[n.Acc]
		for _, in := range n.In {
			any = any || in != None && needs[in]
		}
		for _, out := range n.Out {
			if out != None {
				needs[out] = any && !n.Op.Constant
			}
		}
	}
	return needs
}

// costly lists the values worth keeping: those the backward pass asks for which a costly operation made, and, where a
// cheap one made them, the costly values it is made from.
func costly(f *Graph, wanted []ID, needs []bool) []ID {
	all := make([]ID, 0, len(f.Values))
	for i := range f.Values {
		if f.Values[i].Kind == Temp {
			all = append(all, ID(i))
		}
	}
	asked := reversed(f, wanted, needs, all).out
	seen := make([]bool, len(f.Values))
	var list []ID
	var visit func(id ID)
	visit = func(id ID) {
		if id == None || seen[id] || f.Values[id].Kind != Temp {
			return
		}
		seen[id] = true
		n := &f.Nodes[f.producer[id]]
		if !n.Op.Cheap {
			list = append(list, id)
			return
		}
		for _, in := range n.In {
			visit(in)
		}
		visit(n.Acc)
	}
	for _, v := range asked.Values {
		if v.Kind == Saved {
			visit(v.Ref)
		}
	}
	return list
}

// reverse is the state of one differentiation.
type reverse struct {
	f     *Graph
	out   *Graph
	needs []bool
	kept  []bool
	local []ID // of each forward value: its ID in out, or None
	// passing is local for values that are made twice, while only repeated nodes read them (Op.MadeTwice).
	passing []ID
	grad    []ID // of each forward value: the gradient so far, in out, or None
	// sum is out.Add, which pass may not name: an operation's derivative that named Add would be part of Add's own
	// value.
	sum func(a, b ID) ID
}

func reversed(f *Graph, wanted []ID, needs []bool, keep []ID) *reverse {
	r := &reverse{f: f, out: &Graph{}, needs: needs, kept: make([]bool, len(f.Values)),
		local: make([]ID, len(f.Values)), passing: make([]ID, len(f.Values)), grad: make([]ID, len(f.Values))}
	for i := range r.local {
		r.local[i], r.passing[i], r.grad[i] = None, None, None
	}
	r.sum = r.out.Add
	for _, id := range keep {
		r.kept[id] = true
	}
	for i, id := range f.Outputs {
		if needs[id] {
			r.grad[id] = r.out.Bound(Value{Name: GradName(i), Kind: Input, Type: F32, Shape: f.shape(id), Ref: None})
		}
	}
	for i := len(f.Nodes) - 1; i >= 0; i-- {
		n := &f.Nodes[i]
		if !r.reached(n) {
			continue
		}
		if n.Op.back == nil {
			r.out.Fail("%v has no derivative", n.Op)
			break
		}
		n.Op.back(r, n)
	}
	for i := range f.Values {
		if v := &f.Values[i]; trained(v) && r.grad[i] != None {
			r.out.Fail("%q is trained, and is read by an operation that adds up no gradient of it", v.Name)
		}
	}
	for _, id := range wanted {
		g := r.grad[id]
		if g == None {
			r.out.Fail("input %q has no path to an output", f.Values[id].Name)
			break
		}
		r.out.Output(g)
	}
	return r
}

// reached says whether a gradient arrives at n and goes on from it.
func (r *reverse) reached(n *Node) bool {
	for _, out := range n.Out {
		if out != None && r.needs[out] && r.grad[out] != None {
			return true
		}
	}
	return false
}

// need gives a derivative a forward value in the backward graph: bound, kept, or computed again.
func (r *reverse) need(id ID) ID { return r.find(id, r.local) }

// find is need for whoever keeps the values made twice in the table passing.
func (r *reverse) find(id ID, passing []ID) ID {
	if id == None {
		return None
	}
	v, table := r.f.Values[id], r.local
	if v.Kind == Temp && !r.kept[id] && r.f.Nodes[r.f.producer[id]].Op.MadeTwice {
		table = passing
	}
	if table[id] != None {
		return table[id]
	}
	if r.local[id] != None { // made for a derivative already
		return r.local[id]
	}
	switch {
	case v.Kind != Temp:
		table[id] = r.out.Bound(v)
	case r.kept[id]:
		table[id] = r.out.Bound(Value{Name: v.Name, Kind: Saved, Type: v.Type, Shape: v.Shape, Ref: id})
	default:
		r.again(r.f.producer[id], table)
	}
	return table[id]
}

// again repeats a forward node in the backward graph, for the table.
func (r *reverse) again(node int32, table []ID) {
	n := r.f.Nodes[node]
	c := Node{Op: n.Op, Attr: n.Attr, Acc: r.find(n.Acc, r.passing), In: make([]ID, len(n.In))}
	for i, in := range n.In {
		c.In[i] = r.find(in, r.passing)
	}
	for i, out := range r.out.emit(c) {
		if n.Out[i] != None && table[n.Out[i]] == None {
			table[n.Out[i]] = out
		}
	}
}

// pass hands a gradient on unchanged.
func (r *reverse) pass(to, grad ID) {
	if to == None || !r.needs[to] {
		return
	}
	if r.grad[to] == None {
		r.grad[to] = grad
		return
	}
	r.grad[to] = r.sum(r.grad[to], grad)
}

// into adds to the gradient of to by a node that can start from what is there.
func (r *reverse) into(to ID, n Node) {
	if to == None || !r.needs[to] {
		return
	}
	n.Acc = r.grad[to]
	r.grad[to] = r.out.emit(n)[0]
}

// trained says whether the gradient of a value is added to a Grad.
func trained(v *Value) bool { return v.Kind == Param && !v.Frozen }

// accumulator gives the Grad of a Param, or None where id is no Param or a frozen one.
func (r *reverse) accumulator(id ID) ID {
	if id == None || !trained(&r.f.Values[id]) {
		return None
	}
	v := r.f.Values[id]
	return r.out.Bound(Value{Name: v.Name, Kind: Grad, Type: F32, Shape: v.Shape, Ref: None, Delta: v.Delta})
}
