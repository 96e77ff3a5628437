package graph

import "fmt"

// A HeadAttr holds the constants of Head.
type HeadAttr struct {
	WithMean bool // also give the softmax's mean rows, which the derivative needs
}

// Head: h [K,C], W [K,V], targets i32 [1,C], h2 [r,C] or None, W2 [r,V] or None → logp [1,C], lse [1,C], and with
// WithMean the softmax's mean rows e [K,C] and e2 [r,C]. Logits are W h + W2 h2.
var Head = register(&Op{Name: "head", Outs: 4, shape: shapeHead, back: backHead})

// HeadBack: coef [1,C], W, targets, e, W2 or None, e2 or None → dh [K,C], dh2 [r,C].
var HeadBack = register(&Op{Name: "head_back", Outs: 2, shape: shapeHeadBack})

// HeadGrad: h, W, targets, lse, coef, h2 or None, W2 or None; adds to the Grads of W and W2 (either may be None).
var HeadGrad = register(&Op{Name: "head_grad", shape: shapeNone})

// Head adds the output head and returns the log-probabilities of targets. With mean, what its derivative needs is
// computed in the same pass.
func (g *Graph) Head(h, w, targets, h2, w2 ID, mean bool) ID {
	return g.emit(Node{Op: Head, In: []ID{h, w, targets, h2, w2}, Acc: None, Attr: HeadAttr{WithMean: mean}})[0]
}

// d(logit_v) = coef·(1[v = target] − softmax_v); summed over the vocabulary that is coef·(W_target − e).
func backHead(r *reverse, n *Node) {
	h, w, targets, h2, w2 := n.In[0], n.In[1], n.In[2], n.In[3], n.In[4]
	coef := r.grad[n.Out[0]]
	if gw, gw2 := r.accumulator(w), r.accumulator(w2); gw != None || gw2 != None {
		in := []ID{r.need(h), r.need(w), r.need(targets), r.need(n.Out[1]), coef, r.need(h2), r.need(w2)}
		r.out.into(Node{Op: HeadGrad, In: in}, gw, gw2)
	}
	if !r.needs[h] && (h2 == None || !r.needs[h2]) {
		return
	}
	in := []ID{coef, r.need(w), r.need(targets), r.need(n.Out[2]), r.need(w2), r.need(n.Out[3])}
	d := r.out.emit(Node{Op: HeadBack, In: in, Acc: None})
	r.pass(h, d[0])
	r.pass(h2, d[1])
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
	out := []Shape{Matrix(1, h[1]), Matrix(1, h[1]), {}, {}}
	if n.Attr.(HeadAttr).WithMean {
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
