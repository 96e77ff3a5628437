package graph

import "fmt"

// An Op is an operation. T is the number of tokens, K a linear layer's inputs, N its outputs; [..] is a shape in ggml
// order; Acc names operations that may start from a given value instead of zero.
type Op uint8

const (
	// OpLinear: W [K,N], x [K,T], bias [N] or None → y [N,T] = Acc + Scale·W x + bias.
	OpLinear Op = iota + 1
	// OpLinearT: W [K,N], dy [N,T] → dx [K,T] = Acc + Scale·Wᵀ dy.
	OpLinearT
	// OpOuter: x [K,T], dy [N,T]; adds Scale·Σ_t x_t dy_tᵀ to a Grad [K,N].
	OpOuter
	// OpBiasGrad: dy [N,T]; adds Σ_t dy_t to a Grad [N].
	OpBiasGrad
	// OpAdd: a, b → a + b.
	OpAdd
	// OpSlice: x [M,T] → x[Offset:Offset+Width] [Width,T].
	OpSlice
	// OpUnslice: dy [w,T] → [Width,T] = Acc, with dy added at Offset.
	OpUnslice
	// OpRMSNorm: x [H·n,T], w [n] → the same shape, each run of n normalised: x/√(mean x² + Eps)·w.
	OpRMSNorm
	// OpRMSNormBack: x, w, dy → dx, with Acc.
	OpRMSNormBack
	// OpRMSNormGrad: x, dy; adds to a Grad [n].
	OpRMSNormGrad
	// OpLayerNorm: x [n,T], w [n], b [n] or None → (x − mean)/√(var + Eps)·w + b.
	OpLayerNorm
	// OpLayerNormBack: x, w, dy → dx, with Acc.
	OpLayerNormBack
	// OpLayerNormGrad: x, dy; adds to the Grads of w and b.
	OpLayerNormGrad
	// OpRope: x [HeadDim·Heads,T], pos i32 [1,T], frequency factors [Rope.Dim/2] or None → x rotated by its position.
	OpRope
	// OpAttention: q [HeadDim·Heads,T], k, v [HeadDim·KVHeads,T], tree i32 → o as q, lse [Heads,T]. Scale multiplies qᵀk.
	OpAttention
	// OpAttentionDelta: o, do → [Heads,T], the row sums of o∘do per head.
	OpAttentionDelta
	// OpAttentionBackQ: q, k, v, lse, delta, do, tree → dq.
	OpAttentionBackQ
	// OpAttentionBackKV: q, k, v, lse, delta, do, tree → dk, dv.
	OpAttentionBackKV
	// OpSwiGLU: g, u → silu(g)∘u.
	OpSwiGLU
	// OpSwiGLUBack: g, u, dout → dg, du.
	OpSwiGLUBack
	// OpGELU: x → gelu(x), the tanh form.
	OpGELU
	// OpGELUBack: x, dout → dx.
	OpGELUBack
	// OpDropout: x → x∘mask/(1−Rate); the mask is keyed by Stream and by a key given when the graph is run.
	OpDropout
	// OpRows: table [K,V] (a Weight of any type, a Param or an activation), ids i32 [1,T] → [K,T].
	OpRows
	// OpRowsGrad: dy [K,T], ids; adds dy_t to row ids[t] of a Grad [K,V].
	OpRowsGrad
	// OpScatter: dy [K,T], ids → [K,Width] = Acc, with dy_t added to row ids[t].
	OpScatter
	// OpHead: h [K,C], W [K,V], targets i32 [1,C], h2 [r,C] or None, W2 [r,V] or None → logp [1,C], lse [1,C], and with
	// WithMean the softmax's mean rows e [K,C] and e2 [r,C]. Logits are W h + W2 h2.
	OpHead
	// OpHeadBack: coef [1,C], W, targets, e, W2 or None, e2 or None → dh [K,C], dh2 [r,C].
	OpHeadBack
	// OpHeadGrad: h, W, targets, lse, coef, h2 or None, W2 or None; adds to the Grads of W and W2 (either may be None).
	OpHeadGrad
	opEnd
)

func (op Op) String() string {
	if op == 0 || op >= opEnd {
		return fmt.Sprintf("op(%d)", uint8(op))
	}
	return specs[op].name
}

// spec is what the graph knows of an operation.
type spec struct {
	name string
	outs int
	// cheap: its cost is linear in its inputs, so a backward pass computes it again rather than having it kept.
	cheap bool
	shape func(g *Graph, n *Node) ([]Shape, error)
	// back adds the gradients of n's inputs, given those of its outputs; nil where n has no derivative (it is one).
	back func(r *reverse, n *Node)
}

var specs [opEnd]spec

func isNorm(op Op) bool { return op == OpRMSNorm || op == OpLayerNorm }

// The table refers to functions that refer to the table, hence init.
func init() {
	specs = [opEnd]spec{
		OpLinear:          {"linear", 1, false, shapeLinear, backLinear},
		OpLinearT:         {"linear_t", 1, false, shapeLinearT, nil},
		OpOuter:           {"outer", 0, false, shapeNone, nil},
		OpBiasGrad:        {"bias_grad", 0, false, shapeNone, nil},
		OpAdd:             {"add", 1, true, shapeSame(0, 1), backAdd},
		OpSlice:           {"slice", 1, true, shapeSlice, backSlice},
		OpUnslice:         {"unslice", 1, false, shapeUnslice, nil},
		OpRMSNorm:         {"rms_norm", 1, true, shapeNorm, backRMSNorm},
		OpRMSNormBack:     {"rms_norm_back", 1, false, shapeSame(0, 2), nil},
		OpRMSNormGrad:     {"rms_norm_grad", 0, false, shapeNone, nil},
		OpLayerNorm:       {"layer_norm", 1, true, shapeNorm, backLayerNorm},
		OpLayerNormBack:   {"layer_norm_back", 1, false, shapeSame(0, 2), nil},
		OpLayerNormGrad:   {"layer_norm_grad", 0, false, shapeNone, nil},
		OpRope:            {"rope", 1, true, shapeRope, backRope},
		OpAttention:       {"attention", 2, false, shapeAttention, backAttention},
		OpAttentionDelta:  {"attention_delta", 1, false, shapeDelta, nil},
		OpAttentionBackQ:  {"attention_back_q", 1, false, shapeOf(0), nil},
		OpAttentionBackKV: {"attention_back_kv", 2, false, shapeOf(1, 2), nil},
		OpSwiGLU:          {"swiglu", 1, true, shapeSame(0, 1), backSwiGLU},
		OpSwiGLUBack:      {"swiglu_back", 2, false, shapeOf(0, 1), nil},
		OpGELU:            {"gelu", 1, true, shapeOf(0), backGELU},
		OpGELUBack:        {"gelu_back", 1, false, shapeSame(0, 1), nil},
		OpDropout:         {"dropout", 1, true, shapeOf(0), backDropout},
		OpRows:            {"rows", 1, true, shapeRows, backRows},
		OpRowsGrad:        {"rows_grad", 0, false, shapeNone, nil},
		OpScatter:         {"scatter", 1, false, shapeScatter, nil},
		OpHead:            {"head", 4, false, shapeHead, backHead},
		OpHeadBack:        {"head_back", 2, false, shapeHeadBack, nil},
		OpHeadGrad:        {"head_grad", 0, false, shapeNone, nil},
	}
}

// Linear adds y = acc + scale·W x + bias; bias and acc may be None.
func (g *Graph) Linear(w, x, bias, acc ID, scale float64) ID {
	return g.emit(Node{Op: OpLinear, In: []ID{w, x, bias}, Acc: acc, Attr: Attr{Scale: scale}})[0]
}

// Add adds a + b.
func (g *Graph) Add(a, b ID) ID {
	return g.emit(Node{Op: OpAdd, In: []ID{a, b}, Acc: None})[0]
}

// Slice takes width elements of every row of x, from offset.
func (g *Graph) Slice(x ID, offset, width int64) ID {
	return g.emit(Node{Op: OpSlice, In: []ID{x}, Acc: None, Attr: Attr{Offset: offset, Width: width}})[0]
}

// RMSNorm normalises each run of len(w) elements of x (the whole row, or every head of it).
func (g *Graph) RMSNorm(x, w ID, eps float64) ID {
	return g.emit(Node{Op: OpRMSNorm, In: []ID{x, w}, Acc: None, Attr: Attr{Eps: eps}})[0]
}

// LayerNorm normalises rows of x to mean 0 and variance 1, then scales by w and shifts by b (or None).
func (g *Graph) LayerNorm(x, w, b ID, eps float64) ID {
	return g.emit(Node{Op: OpLayerNorm, In: []ID{x, w, b}, Acc: None, Attr: Attr{Eps: eps}})[0]
}

// Rope rotates every head of x by its token's position; factors (or None) divide the frequencies.
func (g *Graph) Rope(x, pos, factors ID, heads, headDim int, p Rope) ID {
	return g.emit(Node{Op: OpRope, In: []ID{x, pos, factors}, Acc: None, Attr: Attr{Heads: heads, HeadDim: headDim, Rope: p}})[0]
}

// Attention adds causal attention under the tree's mask and returns o.
func (g *Graph) Attention(q, k, v, tree ID, heads, kvHeads, headDim int, scale float64) ID {
	a := Attr{Heads: heads, KVHeads: kvHeads, HeadDim: headDim, Scale: scale}
	return g.emit(Node{Op: OpAttention, In: []ID{q, k, v, tree}, Acc: None, Attr: a})[0]
}

// SwiGLU adds silu(gate)∘up.
func (g *Graph) SwiGLU(gate, up ID) ID {
	return g.emit(Node{Op: OpSwiGLU, In: []ID{gate, up}, Acc: None})[0]
}

// GELU adds gelu(x), the tanh form.
func (g *Graph) GELU(x ID) ID {
	return g.emit(Node{Op: OpGELU, In: []ID{x}, Acc: None})[0]
}

// Dropout zeroes elements of x with probability rate and scales the rest by 1/(1−rate). Stream tells the masks of one
// graph apart; a run's key those of its layers and steps.
func (g *Graph) Dropout(x ID, rate float64, stream int64) ID {
	return g.emit(Node{Op: OpDropout, In: []ID{x}, Acc: None, Attr: Attr{Rate: rate, Stream: stream}})[0]
}

// Rows gathers rows ids of table.
func (g *Graph) Rows(table, ids ID) ID {
	return g.emit(Node{Op: OpRows, In: []ID{table, ids}, Acc: None})[0]
}

// Head adds the output head and returns the log-probabilities of targets. With mean, what its derivative needs is
// computed in the same pass.
func (g *Graph) Head(h, w, targets, h2, w2 ID, mean bool) ID {
	return g.emit(Node{Op: OpHead, In: []ID{h, w, targets, h2, w2}, Acc: None, Attr: Attr{WithMean: mean}})[0]
}
