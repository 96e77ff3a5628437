package graph

// The derivatives. d(x) stands for dLoss/dx.

// y = acc + s·W x + b: d(x) = s·Wᵀ d(y), d(W) = s·d(y) xᵀ, d(b) = Σ_t d(y), d(acc) = d(y).
func backLinear(r *reverse, n *Node) {
	w, x, bias, dy := n.In[0], n.In[1], n.In[2], r.grad[n.Out[0]]
	if g := r.accumulator(w); g != None {
		r.out.into(Node{Op: OpOuter, In: []ID{r.need(x), dy}, Attr: n.Attr}, g)
	}
	if g := r.accumulator(bias); g != None {
		r.out.into(Node{Op: OpBiasGrad, In: []ID{dy}}, g)
	}
	if r.needs[x] {
		r.into(x, Node{Op: OpLinearT, In: []ID{r.need(w), dy}, Attr: n.Attr})
	}
	r.pass(n.Acc, dy)
}

func backAdd(r *reverse, n *Node) {
	dy := r.grad[n.Out[0]]
	r.pass(n.In[1], dy)
	r.pass(n.In[0], dy)
}

func backSlice(r *reverse, n *Node) {
	a := Attr{Offset: n.Attr.Offset, Width: r.f.shape(n.In[0])[0]}
	r.into(n.In[0], Node{Op: OpUnslice, In: []ID{r.grad[n.Out[0]]}, Attr: a})
}

func backRMSNorm(r *reverse, n *Node) {
	x, w, dy := n.In[0], n.In[1], r.grad[n.Out[0]]
	if g := r.accumulator(w); g != None {
		r.out.into(Node{Op: OpRMSNormGrad, In: []ID{r.need(x), dy}, Attr: n.Attr}, g)
	}
	if r.needs[x] {
		r.into(x, Node{Op: OpRMSNormBack, In: []ID{r.need(x), r.need(w), dy}, Attr: n.Attr})
	}
}

func backLayerNorm(r *reverse, n *Node) {
	x, w, dy := n.In[0], n.In[1], r.grad[n.Out[0]]
	if g := r.accumulator(w); g != None {
		r.out.into(Node{Op: OpLayerNormGrad, In: []ID{r.need(x), dy}, Attr: n.Attr}, g, r.accumulator(n.In[2]))
	}
	if r.needs[x] {
		r.into(x, Node{Op: OpLayerNormBack, In: []ID{r.need(x), r.need(w), dy}, Attr: n.Attr})
	}
}

// A rotation's transpose is its inverse.
func backRope(r *reverse, n *Node) {
	if !r.needs[n.In[0]] {
		return
	}
	a := n.Attr
	a.Inverse = !a.Inverse
	in := []ID{r.grad[n.Out[0]], r.need(n.In[1]), r.need(n.In[2])}
	r.pass(n.In[0], r.out.emit(Node{Op: OpRope, In: in, Acc: None, Attr: a})[0])
}

// Attention's backward pass from the log-sum-exp of its scores (Dao et al. 2022, FlashAttention, algorithm 4).
func backAttention(r *reverse, n *Node) {
	q, k, v, tree := r.need(n.In[0]), r.need(n.In[1]), r.need(n.In[2]), r.need(n.In[3])
	o, lse, do := r.need(n.Out[0]), r.need(n.Out[1]), r.grad[n.Out[0]]
	delta := r.out.emit(Node{Op: OpAttentionDelta, In: []ID{o, do}, Acc: None, Attr: n.Attr})[0]
	in := []ID{q, k, v, lse, delta, do, tree}
	if r.needs[n.In[0]] {
		r.pass(n.In[0], r.out.emit(Node{Op: OpAttentionBackQ, In: in, Acc: None, Attr: n.Attr})[0])
	}
	if r.needs[n.In[1]] || r.needs[n.In[2]] {
		d := r.out.emit(Node{Op: OpAttentionBackKV, In: in, Acc: None, Attr: n.Attr})
		r.pass(n.In[1], d[0])
		r.pass(n.In[2], d[1])
	}
}

func backSwiGLU(r *reverse, n *Node) {
	in := []ID{r.need(n.In[0]), r.need(n.In[1]), r.grad[n.Out[0]]}
	d := r.out.emit(Node{Op: OpSwiGLUBack, In: in, Acc: None})
	r.pass(n.In[0], d[0])
	r.pass(n.In[1], d[1])
}

func backGELU(r *reverse, n *Node) {
	in := []ID{r.need(n.In[0]), r.grad[n.Out[0]]}
	r.pass(n.In[0], r.out.emit(Node{Op: OpGELUBack, In: in, Acc: None})[0])
}

// The same mask, on the gradient.
func backDropout(r *reverse, n *Node) {
	if !r.needs[n.In[0]] {
		return
	}
	in := []ID{r.grad[n.Out[0]]}
	r.pass(n.In[0], r.out.emit(Node{Op: OpDropout, In: in, Acc: None, Attr: n.Attr})[0])
}

func backRows(r *reverse, n *Node) {
	table, ids, dy := n.In[0], n.In[1], r.grad[n.Out[0]]
	if g := r.accumulator(table); g != None {
		r.out.into(Node{Op: OpRowsGrad, In: []ID{dy, r.need(ids)}}, g)
		return
	}
	if r.needs[table] {
		a := Attr{Width: r.f.shape(table)[1]}
		r.into(table, Node{Op: OpScatter, In: []ID{dy, r.need(ids)}, Attr: a})
	}
}

// d(logit_v) = coef·(1[v = target] − softmax_v); summed over the vocabulary that is coef·(W_target − e).
func backHead(r *reverse, n *Node) {
	h, w, targets, h2, w2 := n.In[0], n.In[1], n.In[2], n.In[3], n.In[4]
	coef := r.grad[n.Out[0]]
	if gw, gw2 := r.accumulator(w), r.accumulator(w2); gw != None || gw2 != None {
		in := []ID{r.need(h), r.need(w), r.need(targets), r.need(n.Out[1]), coef, r.need(h2), r.need(w2)}
		r.out.into(Node{Op: OpHeadGrad, In: in}, gw, gw2)
	}
	if !r.needs[h] && (h2 == None || !r.needs[h2]) {
		return
	}
	in := []ID{coef, r.need(w), r.need(targets), r.need(n.Out[2]), r.need(w2), r.need(n.Out[3])}
	d := r.out.emit(Node{Op: OpHeadBack, In: in, Acc: None})
	r.pass(h, d[0])
	r.pass(h2, d[1])
}
