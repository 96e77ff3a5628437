package graph

import (
	"fmt"
	"math"
)

// eval runs a graph in float64, one scalar loop an operation: the meaning of each operation, against which derivatives are
// checked without any kernel. vals holds the bound values by ID and receives the others; Grads are added to.
func eval(g *Graph, vals map[ID][]float64) {
	for i := range g.Nodes {
		n := &g.Nodes[i]
		for k, out := range n.Out {
			if out == None || vals[out] != nil {
				continue
			}
			s := g.shape(out)
			vals[out] = make([]float64, s[0]*s[1])
			if k == 0 && n.Acc != None {
				copy(vals[out], vals[n.Acc])
			}
		}
		e := evaluator{g: g, n: n, vals: vals}
		e.run()
	}
}

type evaluator struct {
	g    *Graph
	n    *Node
	vals map[ID][]float64
}

func (e *evaluator) in(i int) []float64 {
	if e.n.In[i] == None {
		return nil
	}
	return e.vals[e.n.In[i]]
}

func (e *evaluator) out(i int) []float64 {
	if e.n.Out[i] == None {
		return nil
	}
	return e.vals[e.n.Out[i]]
}

func (e *evaluator) dims(i int) (int, int) {
	s := e.g.shape(e.n.In[i])
	return int(s[0]), int(s[1])
}

func (e *evaluator) run() {
	a := e.n.Attr
	switch e.n.Op {
	case OpLinear:
		k, nn := e.dims(0)
		_, t := e.dims(1)
		w, x, b, y := e.in(0), e.in(1), e.in(2), e.out(0)
		for c := range t {
			for r := range nn {
				for i := range k {
					y[c*nn+r] += a.Scale * w[r*k+i] * x[c*k+i]
				}
				if b != nil {
					y[c*nn+r] += b[r]
				}
			}
		}
	case OpLinearT:
		k, nn := e.dims(0)
		_, t := e.dims(1)
		for c := range t {
			for r := range nn {
				for i := range k {
					e.out(0)[c*k+i] += a.Scale * e.in(0)[r*k+i] * e.in(1)[c*nn+r]
				}
			}
		}
	case OpOuter:
		k, t := e.dims(0)
		nn, _ := e.dims(1)
		for c := range t {
			for r := range nn {
				for i := range k {
					e.out(0)[r*k+i] += a.Scale * e.in(0)[c*k+i] * e.in(1)[c*nn+r]
				}
			}
		}
	case OpBiasGrad:
		nn, t := e.dims(0)
		for c := range t {
			for r := range nn {
				e.out(0)[r] += e.in(0)[c*nn+r]
			}
		}
	case OpAdd:
		for i := range e.out(0) {
			e.out(0)[i] = e.in(0)[i] + e.in(1)[i]
		}
	case OpSlice:
		m, t := e.dims(0)
		for c := range t {
			copy(e.out(0)[c*int(a.Width):(c+1)*int(a.Width)], e.in(0)[c*m+int(a.Offset):])
		}
	case OpUnslice:
		m, t := e.dims(0)
		for c := range t {
			for i := range m {
				e.out(0)[c*int(a.Width)+int(a.Offset)+i] += e.in(0)[c*m+i]
			}
		}
	case OpRMSNorm, OpRMSNormBack, OpRMSNormGrad, OpLayerNorm, OpLayerNormBack, OpLayerNormGrad:
		e.norms()
	case OpRope:
		e.rope()
	case OpAttention, OpAttentionDelta, OpAttentionBackQ, OpAttentionBackKV:
		e.attention()
	case OpSwiGLU:
		for i, g := range e.in(0) {
			e.out(0)[i] = g / (1 + math.Exp(-g)) * e.in(1)[i]
		}
	case OpSwiGLUBack:
		for i, g := range e.in(0) {
			s := 1 / (1 + math.Exp(-g))
			e.out(0)[i] = e.in(2)[i] * e.in(1)[i] * s * (1 + g*(1-s))
			e.out(1)[i] = e.in(2)[i] * g * s
		}
	case OpGELU:
		for i, x := range e.in(0) {
			e.out(0)[i] = 0.5 * x * (1 + math.Tanh(geluArg(x)))
		}
	case OpGELUBack:
		for i, x := range e.in(0) {
			th := math.Tanh(geluArg(x))
			e.out(0)[i] = e.in(1)[i] * (0.5*(1+th) + 0.5*x*(1-th*th)*math.Sqrt(2/math.Pi)*(1+3*0.044715*x*x))
		}
	case OpDropout: // any fixed mask will do
		for i, x := range e.in(0) {
			if (i*7+int(a.Stream))%3 != 0 {
				e.out(0)[i] = x / (1 - a.Rate)
			}
		}
	case OpRows, OpRowsGrad, OpScatter:
		e.rows()
	case OpHead, OpHeadBack, OpHeadGrad:
		e.head()
	default:
		panic(fmt.Sprintf("no meaning written for %v", e.n.Op))
	}
}

func geluArg(x float64) float64 { return math.Sqrt(2/math.Pi) * (x + 0.044715*x*x*x) }

func (e *evaluator) rows() {
	switch e.n.Op {
	case OpRows:
		k, _ := e.dims(0)
		for c, id := range e.in(1) {
			copy(e.out(0)[c*k:(c+1)*k], e.in(0)[int(id)*k:])
		}
	default: // OpRowsGrad, OpScatter
		k, _ := e.dims(0)
		for c, id := range e.in(1) {
			for i := range k {
				e.out(0)[int(id)*k+i] += e.in(0)[c*k+i]
			}
		}
	}
}

// norms works on runs of n elements; the derivatives by the chain rule through the normalised value.
func (e *evaluator) norms() {
	x := e.in(0)
	var n int
	switch e.n.Op {
	case OpRMSNormGrad, OpLayerNormGrad:
		n = len(e.out(0))
	default:
		n, _ = e.dims(1)
	}
	for r := 0; r < len(x); r += n {
		run := x[r : r+n]
		mean, ms := 0.0, 0.0
		if e.n.Op == OpLayerNorm || e.n.Op == OpLayerNormBack || e.n.Op == OpLayerNormGrad {
			for _, v := range run {
				mean += v / float64(n)
			}
		}
		for _, v := range run {
			ms += (v - mean) * (v - mean) / float64(n)
		}
		inv := 1 / math.Sqrt(ms+e.n.Attr.Eps)
		hat := make([]float64, n)
		for i, v := range run {
			hat[i] = (v - mean) * inv
		}
		switch e.n.Op {
		case OpRMSNorm, OpLayerNorm:
			for i := range hat {
				e.out(0)[r+i] = hat[i] * e.in(1)[i]
				if e.n.Op == OpLayerNorm && e.in(2) != nil {
					e.out(0)[r+i] += e.in(2)[i]
				}
			}
		case OpRMSNormBack, OpLayerNormBack:
			dot, sum := 0.0, 0.0
			for i := range hat {
				d := e.in(2)[r+i] * e.in(1)[i]
				dot += d * hat[i] / float64(n)
				if e.n.Op == OpLayerNormBack {
					sum += d / float64(n)
				}
			}
			for i := range hat {
				e.out(0)[r+i] += inv * (e.in(2)[r+i]*e.in(1)[i] - sum - hat[i]*dot)
			}
		default:
			for i := range hat {
				e.out(0)[i] += e.in(1)[r+i] * hat[i]
				if e.n.Op == OpLayerNormGrad && e.out(1) != nil {
					e.out(1)[i] += e.in(1)[r+i]
				}
			}
		}
	}
}

func (e *evaluator) rope() {
	a := e.n.Attr
	width, t := e.dims(0)
	copy(e.out(0), e.in(0))
	for c := range t {
		for h := range a.Heads {
			for p := range a.Rope.Dim / 2 {
				theta := e.in(1)[c] * math.Pow(a.Rope.FreqBase, -2*float64(p)/float64(a.Rope.Dim))
				if e.in(2) != nil {
					theta /= e.in(2)[p]
				}
				if a.Inverse {
					theta = -theta
				}
				i, j := 2*p, 2*p+1
				if a.Rope.Neox {
					i, j = p, p+a.Rope.Dim/2
				}
				i, j = c*width+h*a.HeadDim+i, c*width+h*a.HeadDim+j
				x, y := e.in(0)[i], e.in(0)[j]
				e.out(0)[i] = x*math.Cos(theta) - y*math.Sin(theta)
				e.out(0)[j] = x*math.Sin(theta) + y*math.Cos(theta)
			}
		}
	}
}

// visible reads the tree {n, (start, end, parent)…} and says whether token t sees token u.
func visible(tree []float64, t, u int) bool {
	seg := func(x int) int {
		for s := range int(tree[0]) {
			if x >= int(tree[1+3*s]) && x < int(tree[2+3*s]) {
				return s
			}
		}
		return -1
	}
	st, su := seg(t), seg(u)
	if st == su {
		return u <= t
	}
	for st >= 0 {
		st = int(tree[3+3*st])
		if st == su {
			return true
		}
	}
	return false
}

func (e *evaluator) attention() {
	a := e.n.Attr
	d, heads, kvs := a.HeadDim, a.Heads, a.KVHeads
	_, t := e.dims(0)
	if e.n.Op == OpAttentionDelta {
		for c := range t {
			for h := range heads {
				for i := range d {
					at := c*heads*d + h*d + i
					e.out(0)[c*heads+h] += e.in(0)[at] * e.in(1)[at]
				}
			}
		}
		return
	}
	q, k, v := e.in(0), e.in(1), e.in(2)
	tree := e.in(len(e.n.In) - 1)
	for c := range t {
		for h := range heads {
			kv := h / (heads / kvs)
			s, sum := map[int]float64{}, 0.0
			for u := range t {
				if !visible(tree, c, u) {
					continue
				}
				dot := 0.0
				for i := range d {
					dot += q[c*heads*d+h*d+i] * k[u*kvs*d+kv*d+i]
				}
				s[u] = dot * a.Scale
				sum += math.Exp(s[u])
			}
			if e.n.Op == OpAttention {
				e.out(1)[c*heads+h] = math.Log(sum)
			}
			for u := range t {
				su, ok := s[u]
				if !ok {
					continue
				}
				if e.n.Op == OpAttention {
					for i := range d {
						e.out(0)[c*heads*d+h*d+i] += math.Exp(su) / sum * v[u*kvs*d+kv*d+i]
					}
					continue
				}
				p := math.Exp(su - e.in(3)[c*heads+h])
				dp := 0.0
				for i := range d {
					dp += e.in(5)[c*heads*d+h*d+i] * v[u*kvs*d+kv*d+i]
				}
				ds := p * (dp - e.in(4)[c*heads+h]) * a.Scale
				for i := range d {
					qa, ka := c*heads*d+h*d+i, u*kvs*d+kv*d+i
					if e.n.Op == OpAttentionBackQ {
						e.out(0)[qa] += ds * k[ka]
					} else {
						e.out(0)[ka] += ds * q[qa]
						e.out(1)[ka] += p * e.in(5)[qa]
					}
				}
			}
		}
	}
}

func (e *evaluator) head() {
	var h, w, targets, h2, w2 []float64
	var k, vocab, c, r int
	switch e.n.Op {
	case OpHead:
		h, w, targets, h2, w2 = e.in(0), e.in(1), e.in(2), e.in(3), e.in(4)
		k, vocab = e.dims(1)
		r = len(w2) / vocab
	case OpHeadGrad:
		h, w, targets, h2, w2 = e.in(0), e.in(1), e.in(2), e.in(5), e.in(6)
		k, vocab = e.dims(1)
		r = len(w2) / vocab
	case OpHeadBack:
		k, vocab = e.dims(1)
		w2 = e.in(4)
		r = len(w2) / vocab
		for i, t := range e.in(2) {
			for j := range k {
				e.out(0)[i*k+j] = e.in(0)[i] * (e.in(1)[int(t)*k+j] - e.in(3)[i*k+j])
			}
			for j := range r {
				e.out(1)[i*r+j] = e.in(0)[i] * (w2[int(t)*r+j] - e.in(5)[i*r+j])
			}
		}
		return
	}
	c = len(targets)
	for i := range c {
		logits, sum := make([]float64, vocab), 0.0
		for v := range vocab {
			for j := range k {
				logits[v] += h[i*k+j] * w[v*k+j]
			}
			for j := range r {
				logits[v] += h2[i*r+j] * w2[v*r+j]
			}
			sum += math.Exp(logits[v])
		}
		for v := range vocab {
			p := math.Exp(logits[v]) / sum
			if e.n.Op == OpHead {
				for j := range k {
					if e.out(2) != nil {
						e.out(2)[i*k+j] += p * w[v*k+j]
					}
				}
				for j := range r {
					if e.out(3) != nil {
						e.out(3)[i*r+j] += p * w2[v*r+j]
					}
				}
				continue
			}
			d := -p
			if v == int(targets[i]) {
				d++
			}
			d *= e.in(4)[i]
			for j := range k {
				if e.out(0) != nil {
					e.out(0)[v*k+j] += d * h[i*k+j]
				}
			}
			for j := range r {
				if e.out(1) != nil {
					e.out(1)[v*r+j] += d * h2[i*r+j]
				}
			}
		}
		if e.n.Op == OpHead {
			e.out(1)[i] = math.Log(sum)
			e.out(0)[i] = logits[int(targets[i])] - math.Log(sum)
		}
	}
}
