package refmodel

import "math"

// A node is a value of the computation and the gradient of the loss with respect to it, of the same shape: one row a
// token, or a parameter.
type node struct{ val, grad *Matrix }

// A tape remembers how to carry gradients back through each operation done so far.
type tape struct {
	nodes []*node // without gradients until the way back begins
	steps []func()
}

// node makes a value of zeros.
func (t *tape) node(rows, cols int) *node { return t.holding(NewMatrix(rows, cols)) }

func (t *tape) holding(m *Matrix) *node {
	n := &node{val: m}
	t.nodes = append(t.nodes, n)
	return n
}

func (t *tape) onBackward(f func()) { t.steps = append(t.steps, f) }

// prepare makes the gradients, all zero.
func (t *tape) prepare() {
	for _, n := range t.nodes {
		n.grad = NewMatrix(n.val.Rows, n.val.Cols)
	}
}

func (t *tape) backward() {
	for i := len(t.steps) - 1; i >= 0; i-- {
		t.steps[i]()
	}
}

// linear gives scale·W x for each row x.
func (t *tape) linear(w, x *node, scale float64) *node {
	y := t.node(x.val.Rows, w.val.Rows)
	for i := range x.val.Rows {
		xi, yi := x.val.Row(i), y.val.Row(i)
		for n := range yi {
			yi[n] = scale * dot(w.val.Row(n), xi)
		}
	}
	t.onBackward(func() {
		for i := range x.val.Rows {
			for n, dy := range y.grad.Row(i) {
				axpy(x.grad.Row(i), scale*dy, w.val.Row(n))
				axpy(w.grad.Row(n), scale*dy, x.val.Row(i))
			}
		}
	})
	return y
}

// rows gathers rows of w.
func (t *tape) rows(w *node, ids []int) *node {
	y := t.node(len(ids), w.val.Cols)
	for i, id := range ids {
		copy(y.val.Row(i), w.val.Row(id))
	}
	t.onBackward(func() {
		for i, id := range ids {
			for j, d := range y.grad.Row(i) {
				w.grad.Row(id)[j] += d
			}
		}
	})
	return y
}

// add gives a + b, where b has the rows of a or a single one that is added to each.
func (t *tape) add(a, b *node) *node {
	y := t.node(a.val.Rows, a.val.Cols)
	rowOfB := func(i int) int { return i % b.val.Rows }
	for i := range a.val.Rows {
		for j := range a.val.Cols {
			y.val.Row(i)[j] = a.val.Row(i)[j] + b.val.Row(rowOfB(i))[j]
		}
	}
	t.onBackward(func() {
		for i := range a.val.Rows {
			for j, d := range y.grad.Row(i) {
				a.grad.Row(i)[j] += d
				b.grad.Row(rowOfB(i))[j] += d
			}
		}
	})
	return y
}

// means gives the mean of each list of rows of x.
func (t *tape) means(x *node, lists [][]int) *node {
	y := t.node(len(lists), x.val.Cols)
	for i, list := range lists {
		for _, row := range list {
			axpy(y.val.Row(i), 1/float64(len(list)), x.val.Row(row))
		}
	}
	t.onBackward(func() {
		for i, list := range lists {
			for _, row := range list {
				axpy(x.grad.Row(row), 1/float64(len(list)), y.grad.Row(i))
			}
		}
	})
	return y
}

// slice gives columns [from, from+n) of each row.
func (t *tape) slice(x *node, from, n int) *node {
	y := t.node(x.val.Rows, n)
	for i := range x.val.Rows {
		copy(y.val.Row(i), x.val.Row(i)[from:from+n])
	}
	t.onBackward(func() {
		for i := range x.val.Rows {
			for j, d := range y.grad.Row(i) {
				x.grad.Row(i)[from+j] += d
			}
		}
	})
	return y
}

// divide gives x / by.
func (t *tape) divide(x *node, by float64) *node {
	y := t.node(x.val.Rows, x.val.Cols)
	axpy(y.val.Data, 1/by, x.val.Data)
	t.onBackward(func() { axpy(x.grad.Data, 1/by, y.grad.Data) })
	return y
}

// rmsNorm gives w·x/√(mean(x²)+eps) for each run of len(w) elements: the whole row, or each head of it.
func (t *tape) rmsNorm(x, w *node, eps float64) *node {
	y := t.node(x.val.Rows, x.val.Cols)
	n := w.val.Cols
	for at := 0; at < len(x.val.Data); at += n {
		xs, ys := x.val.Data[at:at+n], y.val.Data[at:at+n]
		inv := 1 / math.Sqrt(dot(xs, xs)/float64(n)+eps)
		for i := range xs {
			ys[i] = w.val.Data[i] * xs[i] * inv
		}
	}
	t.onBackward(func() {
		for at := 0; at < len(x.val.Data); at += n {
			xs, dxs, dys := x.val.Data[at:at+n], x.grad.Data[at:at+n], y.grad.Data[at:at+n]
			inv := 1 / math.Sqrt(dot(xs, xs)/float64(n)+eps)
			along := 0.0 // Σ dL/d(x·inv) · x: what moves through inv
			for i := range xs {
				w.grad.Data[i] += dys[i] * xs[i] * inv
				along += dys[i] * w.val.Data[i] * xs[i]
			}
			for i := range xs {
				dxs[i] += dys[i]*w.val.Data[i]*inv - xs[i]*along*inv*inv*inv/float64(n)
			}
		}
	})
	return y
}

// layerNorm gives w·(x−mean)/√(variance+eps) + b for each row; the variance is the biased one. b may be nil.
func (t *tape) layerNorm(x, w, b *node, eps float64) *node {
	y := t.node(x.val.Rows, x.val.Cols)
	n := float64(x.val.Cols)
	normal := NewMatrix(x.val.Rows, x.val.Cols)
	inv := make([]float64, x.val.Rows)
	for r := range x.val.Rows {
		mean, variance := 0.0, 0.0
		for _, v := range x.val.Row(r) {
			mean += v / n
		}
		for _, v := range x.val.Row(r) {
			variance += (v - mean) * (v - mean) / n
		}
		inv[r] = 1 / math.Sqrt(variance+eps)
		for i, v := range x.val.Row(r) {
			normal.Row(r)[i] = (v - mean) * inv[r]
			y.val.Row(r)[i] = w.val.Data[i] * normal.Row(r)[i]
			if b != nil {
				y.val.Row(r)[i] += b.val.Data[i]
			}
		}
	}
	t.onBackward(func() {
		for r := range x.val.Rows {
			nr, dy := normal.Row(r), y.grad.Row(r)
			mean, along := 0.0, 0.0 // of dL/dnormal, and of dL/dnormal·normal
			for i := range nr {
				w.grad.Data[i] += dy[i] * nr[i]
				if b != nil {
					b.grad.Data[i] += dy[i]
				}
				mean += dy[i] * w.val.Data[i] / n
				along += dy[i] * w.val.Data[i] * nr[i] / n
			}
			for i := range nr {
				x.grad.Row(r)[i] += inv[r] * (dy[i]*w.val.Data[i] - mean - nr[i]*along)
			}
		}
	})
	return y
}

// swiglu gives silu(gate)·up with silu(x) = x/(1+e⁻ˣ).
func (t *tape) swiglu(gate, up *node) *node {
	y := t.node(gate.val.Rows, gate.val.Cols)
	for i, g := range gate.val.Data {
		y.val.Data[i] = g * sigmoid(g) * up.val.Data[i]
	}
	t.onBackward(func() {
		for i, g := range gate.val.Data {
			s, d := sigmoid(g), y.grad.Data[i]
			up.grad.Data[i] += d * g * s
			gate.grad.Data[i] += d * up.val.Data[i] * (s + g*s*(1-s))
		}
	})
	return y
}

// gelu gives the tanh approximation that GPT-2 and ggml use: x/2·(1+tanh(√(2/π)(x+0.044715x³))) (Hendrycks and Gimpel
// 2016, section 2).
func (t *tape) gelu(x *node) *node {
	const cubic = 0.044715
	root := math.Sqrt(2 / math.Pi)
	y := t.node(x.val.Rows, x.val.Cols)
	for i, v := range x.val.Data {
		y.val.Data[i] = v / 2 * (1 + math.Tanh(root*(v+cubic*v*v*v)))
	}
	t.onBackward(func() {
		for i, v := range x.val.Data {
			h := math.Tanh(root * (v + cubic*v*v*v))
			slope := (1+h)/2 + v/2*(1-h*h)*root*(1+3*cubic*v*v)
			x.grad.Data[i] += y.grad.Data[i] * slope
		}
	})
	return y
}

// attention attends, for each token and head, over the tokens that the tree lets it see; query head h reads key head
// h·NHeadKV/NHead, scores are divided by √HeadDim, or multiplied by AttnScale, and stay within AttnCap. With a window a
// token sees so many positions and no others.
func (t *tape) attention(q, k, v *node, tr *tree, hp HParams) *node {
	return t.sunkAttention(q, k, v, nil, tr, hp)
}

// sunkAttention is attention where each head has one more score, for every token the same, of a key whose value is
// zero.
func (t *tape) sunkAttention(q, k, v, sinks *node, tr *tree, hp HParams) *node {
	y := t.node(q.val.Rows, hp.NHead*hp.HeadDim)
	scale := 1 / math.Sqrt(float64(hp.HeadDim))
	if hp.AttnScale != 0 {
		scale = hp.AttnScale
	}
	head := func(m *Matrix, tok, h int) []float64 { return m.Row(tok)[h*hp.HeadDim : (h+1)*hp.HeadDim] }
	probs, slopes := make([][]float64, q.val.Rows*hp.NHead), make([][]float64, q.val.Rows*hp.NHead)
	sight, sunk := tr.within(hp.Window), make([]float64, q.val.Rows*hp.NHead) // what the sinks take
	for i, sees := range sight {
		for h := range hp.NHead {
			kv := h * hp.NHeadKV / hp.NHead
			p, slope := make([]float64, len(sees)), make([]float64, len(sees))
			for n, j := range sees {
				p[n], slope[n] = capped(scale*dot(head(q.val, i, h), head(k.val, j, kv)), hp.AttnCap)
			}
			if sinks != nil {
				p = append(p, sinks.val.Data[h])
			}
			softmax(p)
			if sinks != nil {
				sunk[i*hp.NHead+h] = p[len(sees)]
			}
			for n, j := range sees {
				axpy(head(y.val, i, h), p[n], head(v.val, j, kv))
			}
			probs[i*hp.NHead+h], slopes[i*hp.NHead+h] = p, slope
		}
	}
	t.onBackward(func() {
		for i, sees := range sight {
			for h := range hp.NHead {
				kv, p, dy := h*hp.NHeadKV/hp.NHead, probs[i*hp.NHead+h], head(y.grad, i, h)
				mean := 0.0 // Σ p·dL/dp, what the softmax takes off every score
				for n, j := range sees {
					mean += p[n] * dot(dy, head(v.val, j, kv))
				}
				if sinks != nil { // whose value is zero
					sinks.grad.Data[h] -= sunk[i*hp.NHead+h] * mean
				}
				for n, j := range sees {
					ds := scale * slopes[i*hp.NHead+h][n] * p[n] * (dot(dy, head(v.val, j, kv)) - mean)
					axpy(head(v.grad, j, kv), p[n], dy)
					axpy(head(q.grad, i, h), ds, head(k.val, j, kv))
					axpy(head(k.grad, j, kv), ds, head(q.val, i, h))
				}
			}
		}
	})
	return y
}

func dot(a, b []float64) float64 {
	s := 0.0
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

// axpy adds c·x to y.
func axpy(y []float64, c float64, x []float64) {
	for i := range x {
		y[i] += c * x[i]
	}
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// softmax replaces scores by probabilities.
func softmax(s []float64) {
	z := logSumExp(s)
	for i := range s {
		s[i] = math.Exp(s[i] - z)
	}
}

// logSumExp gives log Σ eˢ without overflow.
func logSumExp(s []float64) float64 {
	top, sum := math.Inf(-1), 0.0
	for _, v := range s {
		top = max(top, v)
	}
	for _, v := range s {
		sum += math.Exp(v - top)
	}
	return top + math.Log(sum)
}
