package graph

import "fmt"

// An AttentionAttr holds the constants of attention and of its derivatives.
type AttentionAttr struct {
	Heads, KVHeads, HeadDim int
	Scale                   float64 // factor of qᵀk
	Bidirectional           bool    // a token sees the later ones of its segment too, not the earlier ones alone
	// Window is how many positions a token sees back (and ahead, where it sees later ones), its own included; 0: as far
	// as its branch goes.
	Window int
	Cap    float64 // keeps scores within ±Cap, as Cap·tanh(score/Cap); 0: they may be any
	// Drop zeroes probabilities by chance and scales the rest by 1/(1−Drop.Rate), Rate 0: none. The mask is a function
	// of the key, the Stream, the head and both tokens' places.
	Drop DropoutAttr
}

// Attention: q [HeadDim·Heads,T], k, v [HeadDim·KVHeads,T], tree i32, sinks [Heads] or None, key i64 [1,1] or, where
// nothing is dropped, None → o as q, lse [Heads,T]. A sink is one more score of its head, the same for every token, of
// a key whose value is zero: it takes a share of the probability and gives nothing.
var Attention = register(&Op{Name: "attention", Outs: 2, shape: shapeAttention, back: backAttention})

// AttentionDelta: o, do → [Heads,T], the row sums of o∘do per head.
var AttentionDelta = register(&Op{Name: "attention_delta", Outs: 1, shape: shapeDelta})

// AttentionBackQ: q, k, v, lse, delta, do, tree, key or None → dq.
var AttentionBackQ = register(&Op{Name: "attention_back_q", Outs: 1, shape: shapeOf(0)})

// AttentionBackKV: q, k, v, lse, delta, do, tree, key or None → dk, dv.
var AttentionBackKV = register(&Op{Name: "attention_back_kv", Outs: 2, shape: shapeOf(1, 2)})

// AttentionSinkGrad: sinks [Heads], lse, delta; adds −Σ_t exp(sinks − lse)∘delta to a Grad [Heads].
var AttentionSinkGrad = register(&Op{Name: "attention_sink_grad", shape: shapeNone})

// Attention adds attention under the tree's mask, with sinks or None and the key of what is dropped or None, and
// returns o.
func (g *Graph) Attention(q, k, v, tree, sinks, key ID, a AttentionAttr) ID {
	return g.emit(Node{Op: Attention, In: []ID{q, k, v, tree, sinks, key}, Acc: None, Attr: a})[0]
}

// Attention's backward pass from the log-sum-exp of its scores (Dao et al. 2022, FlashAttention, algorithm 4). What a
// sink takes is in the log-sum-exp, and what is dropped in delta.
func backAttention(r *reverse, n *Node) {
	q, k, v, tree, key := r.need(n.In[0]), r.need(n.In[1]), r.need(n.In[2]), r.need(n.In[3]), r.need(n.In[5])
	o, lse, do := r.need(n.Out[0]), r.need(n.Out[1]), r.grad[n.Out[0]]
	delta := r.out.emit(Node{Op: AttentionDelta, In: []ID{o, do}, Acc: None, Attr: n.Attr})[0]
	if g := r.accumulator(n.In[4]); g != None {
		in := []ID{r.need(n.In[4]), lse, delta}
		r.out.into(Node{Op: AttentionSinkGrad, In: in, Attr: n.Attr}, g)
	}
	in := []ID{q, k, v, lse, delta, do, tree, key}
	if r.needs[n.In[0]] {
		r.pass(n.In[0], r.out.emit(Node{Op: AttentionBackQ, In: in, Acc: None, Attr: n.Attr})[0])
	}
	if r.needs[n.In[1]] || r.needs[n.In[2]] {
		d := r.out.emit(Node{Op: AttentionBackKV, In: in, Acc: None, Attr: n.Attr})
		r.pass(n.In[1], d[0])
		r.pass(n.In[2], d[1])
	}
}

func shapeAttention(g *Graph, n *Node) ([]Shape, error) {
	a, key := n.Attr.(AttentionAttr), n.In[5]
	switch {
	case !(a.Drop.Rate >= 0 && a.Drop.Rate < 1):
		return nil, fmt.Errorf("dropout at a rate of %g", a.Drop.Rate)
	case (a.Drop.Rate > 0) != (key != None):
		return nil, fmt.Errorf("dropout at a rate of %g, with a key: %v", a.Drop.Rate, key != None)
	case key != None:
		if err := keyFault(g, key); err != nil {
			return nil, err
		}
	}
	return shapeAttended(g, n, n.In[4])
}

// shapeAttended gives the shapes of o and lse.
func shapeAttended(g *Graph, n *Node, sinks ID) ([]Shape, error) {
	q, k, v, a := g.shape(n.In[0]), g.shape(n.In[1]), g.shape(n.In[2]), n.Attr.(AttentionAttr)
	switch {
	case a.KVHeads <= 0 || a.Heads%a.KVHeads != 0:
		return nil, fmt.Errorf("%d heads over %d key heads", a.Heads, a.KVHeads)
	case a.Window < 0:
		return nil, fmt.Errorf("a window of %d", a.Window)
	case q[0] != int64(a.Heads*a.HeadDim) || k[0] != int64(a.KVHeads*a.HeadDim) || k != v || k[1] != q[1]:
		return nil, fmt.Errorf("q %v, k %v, v %v with heads %d/%d of %d", q, k, v, a.Heads, a.KVHeads, a.HeadDim)
	}
	out := []Shape{q, Matrix(int64(a.Heads), q[1])}
	if sinks != None && g.shape(sinks) != Matrix(int64(a.Heads), 1) {
		return nil, fmt.Errorf("sinks %v of %d heads", g.shape(sinks), a.Heads)
	}
	if a.Cap != 0 {
		return out, capFault(a.Cap)
	}
	return out, nil
}

func shapeDelta(g *Graph, n *Node) ([]Shape, error) {
	o, do := g.shape(n.In[0]), g.shape(n.In[1])
	heads := int64(n.Attr.(AttentionAttr).Heads)
	return []Shape{Matrix(heads, o[1])}, want(o == do, "shapes %v and %v differ", o, do)
}
