package graph

import (
	"errors"
	"fmt"
	"math"
)

// A HeadAttr holds the constants of Head.
type HeadAttr struct {
	WithMean bool // also give the softmax's mean rows, which the derivative needs
	// WithRest gives behind each token's targets the log of the probability that they leave to all others.
	WithRest bool
	// WithEntropy gives the softmax's entropy, and with the mean rows what its derivative needs. Not with the rest.
	WithEntropy bool
	Scale       float64 // of the logits, above 0: one over the temperature
	// Cap keeps logits within ±Cap before they are scaled, as Cap·tanh(logit/Cap); 0: they may be any.
	Cap float64
}

// Head: h [K,C], W [K,V], targets i32 [n,C], h2 [r,C] or None, W2 [r,V] or None → logp [n,C], or [n+1,C] with the rest,
// lse [1,C], and with WithMean the softmax's mean rows e [K,C] and e2 [r,C]. Logits are Scale·(W h + W2 h2), with a Cap
// bounded before they are scaled; in all mean rows W_v then has the factor 1 − tanh². The targets of a token differ
// from each other. With the entropy, and p = softmax: H = -Σ p_v log p_v [1,C] and, with the
// mean rows, d = -Σ p_v (log p_v + H) W_v [K,C] and d2 [r,C].
var Head = register(&Op{Name: "head", Outs: 7, shape: shapeHead, back: backHead})

// HeadBack: coef [n,C] or [n+1,C] or None, W, targets, e, W2 or None, e2 or None, logp with the rest or a Cap or None,
// g [1,C] or None: the gradient of the entropy, d or None, d2 or None, lse with a Cap or None → dh [K,C], dh2 [r,C].
var HeadBack = register(&Op{Name: "head_back", Outs: 2, shape: shapeHeadBack})

// HeadGrad: h, W, targets, lse, coef or None, h2 or None, W2 or None, logp with the rest or None, g or None, H or None;
// adds to the Grads of W and W2 (either may be None).
var HeadGrad = register(&Op{Name: "head_grad", shape: shapeNone})

// A HeadTopAttr holds the constants of HeadTop.
type HeadTopAttr struct {
	N          int64
	Scale, Cap float64 // HeadAttr's
}

// HeadTop: h [K,C], W [K,V], h2 [r,C] or None, W2 [r,V] or None → [2n,C]: of each token the rows of the n largest
// logits, as numbers, the largest first, then their log-probabilities. It is for a model that teaches, which nothing
// differentiates.
var HeadTop = register(&Op{Name: "head_top", Outs: 1, shape: shapeHeadTop, NoGrad: true})

// Head adds the output head and returns the log-probabilities of targets and, with WithEntropy, the entropy.
func (g *Graph) Head(h, w, targets, h2, w2 ID, a HeadAttr) (logp, entropy ID) {
	out := g.emit(Node{Op: Head, In: []ID{h, w, targets, h2, w2}, Acc: None, Attr: a})
	return out[0], out[4]
}

// HeadTop adds the output head and returns the n largest logits' rows and log-probabilities.
func (g *Graph) HeadTop(h, w, h2, w2 ID, a HeadTopAttr) ID {
	return g.emit(Node{Op: HeadTop, In: []ID{h, w, h2, w2}, Acc: None, Attr: a})[0]
}

// d(logit_v) = Σ_i coef_i·(1[v = target_i] − p_v) − g·p_v·(log p_v + H); summed over the vocabulary, with W, that is
// Σ_i coef_i·(W_target_i − e) + g·d. The rest's probability is 1 less the targets', so that its coefficient adds to
// theirs.
func backHead(r *reverse, n *Node) {
	h, w, targets, h2, w2 := n.In[0], n.In[1], n.In[2], n.In[3], n.In[4]
	coef, logp, a := r.grad[n.Out[0]], None, n.Attr.(HeadAttr)
	g, entropy, d, d2, told, lse := None, None, None, None, None, None
	if a.WithRest {
		logp = n.Out[0]
	}
	if told = logp; a.Cap > 0 { // the targets' logits are told by them
		told, lse = n.Out[0], n.Out[1]
	}
	if a.WithEntropy && r.grad[n.Out[4]] != None {
		g, entropy, d, d2 = r.grad[n.Out[4]], n.Out[4], n.Out[5], n.Out[6]
	}
	if gw, gw2 := r.accumulator(w), r.accumulator(w2); gw != None || gw2 != None {
		in := []ID{r.need(h), r.need(w), r.need(targets), r.need(n.Out[1]), coef, r.need(h2), r.need(w2),
			r.need(logp), g, r.need(entropy)}
		r.out.into(Node{Op: HeadGrad, In: in, Attr: a}, gw, gw2)
	}
	if !r.needs[h] && (h2 == None || !r.needs[h2]) {
		return
	}
	in := []ID{coef, r.need(w), r.need(targets), r.need(n.Out[2]), r.need(w2), r.need(n.Out[3]), r.need(told), g,
		r.need(d), r.need(d2), r.need(lse)}
	back := r.out.emit(Node{Op: HeadBack, In: in, Acc: None, Attr: a})
	r.pass(h, back[0])
	r.pass(h2, back[1])
}

// headFault refuses a head that does not fit its rows h, or a second pair that does not fit beside it.
func headFault(g *Graph, h, w, h2, w2 ID) error {
	x, m, x2, m2 := g.shape(h), g.shape(w), g.shape(h2), g.shape(w2)
	switch {
	case x[0] != m[0]:
		return fmt.Errorf("head takes %d inputs, rows have %d", m[0], x[0])
	case w2 != None && (x2[0] != m2[0] || m2[1] != m[1] || x2[1] != x[1]):
		return fmt.Errorf("second pair %v, %v beside %v, %v", x2, m2, x, m)
	}
	return nil
}

func shapeHead(g *Graph, n *Node) ([]Shape, error) {
	h, t, a := g.shape(n.In[0]), g.shape(n.In[2]), n.Attr.(HeadAttr)
	if err := headFault(g, n.In[0], n.In[1], n.In[3], n.In[4]); err != nil {
		return nil, err
	}
	switch {
	case t[1] != h[1] || t[0] < 1:
		return nil, fmt.Errorf("targets %v for %d tokens", t, h[1])
	case a.WithRest && a.WithEntropy:
		return nil, errors.New("the rest and the entropy are not given together")
	}
	if err := scaleFault(a.Scale, a.Cap); err != nil {
		return nil, err
	}
	per := t[0]
	if a.WithRest {
		per++
	}
	out := []Shape{Matrix(per, h[1]), Matrix(1, h[1]), {}, {}, {}, {}, {}}
	if a.WithMean {
		out[2] = h
		if n.In[4] != None {
			out[3] = g.shape(n.In[3])
		}
	}
	if a.WithEntropy {
		out[4], out[5], out[6] = out[1], out[2], out[3]
	}
	return out, nil
}

// scaleFault refuses a scale of logits that is no positive number, and a bound that is none.
func scaleFault(s, bound float64) error {
	if bound != 0 {
		if err := capFault(bound); err != nil {
			return err
		}
	}
	return want(s > 0 && !math.IsInf(s, 1), "logits times %g", s)
}

func shapeHeadBack(g *Graph, n *Node) ([]Shape, error) {
	out := []Shape{g.shape(n.In[3]), {}}
	if n.In[5] != None {
		out[1] = g.shape(n.In[5])
	}
	return out, nil
}

func shapeHeadTop(g *Graph, n *Node) ([]Shape, error) {
	if err := headFault(g, n.In[0], n.In[1], n.In[2], n.In[3]); err != nil {
		return nil, err
	}
	a := n.Attr.(HeadTopAttr)
	many := a.N
	if vocab := g.shape(n.In[1])[1]; many < 1 || many > vocab {
		return nil, fmt.Errorf("the %d largest of %d logits", many, vocab)
	}
	if err := scaleFault(a.Scale, a.Cap); err != nil {
		return nil, err
	}
	return []Shape{Matrix(2*many, g.shape(n.In[0])[1])}, nil
}
