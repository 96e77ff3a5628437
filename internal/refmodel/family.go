package refmodel

import "fmt"

// A family is what a layer of llama's family has: attention with rotary positions, then a feed-forward network.
type family struct {
	// Biased names the roles that have a bias: all of them with Must, else a model may. nil: none.
	Biased   func(role string) bool
	Must     bool
	QKNorm   string  // q and k are normalised by "head" or by "row"; "": neither
	After    bool    // a norm behind each half, before it is added
	NoBefore bool    // none before each half
	Ungated  bool    // the feed-forward network has no gate: its activation is a GELU
	Parallel bool    // both halves read what the first norm gives
	GELU     bool    // the gate's activation; else SiLU
	NormLate bool    // q and k are normalised behind the rotation
	NormBias bool    // norms of whole rows have biases
	Alone    bool    // the last product of each half has no pair
	Fused    bool    // gate and up are one matrix, the gate's rows first
	Experts  *gating // the feed-forward network is one of experts, weighed so; nil: it is not
}

// tensors lists those of layer il.
func (f family) tensors(hp HParams, il int) []Tensor {
	q, kv := hp.NHead*hp.HeadDim, hp.NHeadKV*hp.HeadDim
	var list []Tensor
	norm := func(role string, n int) {
		list = append(list, Tensor{Name: tensorName(il, role, "weight"), Rows: 1, Cols: n})
	}
	linear := func(role string, rows, cols int) {
		list = append(list, Tensor{Name: tensorName(il, role, "weight"), Rows: rows, Cols: cols,
			Linear: !f.Alone || role != "attn_output" && role != "ffn_down"})
		if f.Biased != nil && f.Biased(role) {
			list = append(list, Tensor{Name: tensorName(il, role, "bias"), Rows: 1, Cols: rows, Optional: !f.Must})
		}
	}
	around := func(role string, there bool) { // a norm of a whole row
		if !there {
			return
		}
		norm(role, hp.NEmbd)
		if f.NormBias {
			list = append(list, Tensor{Name: tensorName(il, role, "bias"), Rows: 1, Cols: hp.NEmbd})
		}
	}
	around("attn_norm", !f.NoBefore)
	linear("attn_q", q, hp.NEmbd)
	linear("attn_k", kv, hp.NEmbd)
	linear("attn_v", kv, hp.NEmbd)
	switch f.QKNorm {
	case "head":
		norm("attn_q_norm", hp.HeadDim)
		norm("attn_k_norm", hp.HeadDim)
	case "row":
		norm("attn_q_norm", q)
		norm("attn_k_norm", kv)
	}
	linear("attn_output", hp.NEmbd, q)
	around("post_attention_norm", f.After)
	around("ffn_norm", !f.NoBefore && !f.Parallel)
	switch {
	case f.Experts != nil:
		list = append(list, expertTensors(hp, il, f.Biased != nil && f.Biased("ffn_gate_exps"))...)
	case f.Fused:
		linear("ffn_up", 2*hp.NFF, hp.NEmbd)
	case f.Ungated:
		linear("ffn_up", hp.NFF, hp.NEmbd)
	default:
		linear("ffn_gate", hp.NFF, hp.NEmbd)
		linear("ffn_up", hp.NFF, hp.NEmbd)
	}
	if f.Experts == nil {
		linear("ffn_down", hp.NEmbd, hp.NFF)
	}
	around("post_ffw_norm", f.After)
	return list
}

// layer gives the output of layer il.
func (f family) layer(p *Pass, il int, x *node) *node { return f.layerWith(p, p.model.HParams, il, x) }

// layerWith is layer with constants of its own: the window, the rotary positions.
func (f family) layerWith(p *Pass, hp HParams, il int, x *node) *node {
	role := func(r string) string { return fmt.Sprintf("blk.%d.%s", il, r) }
	normed := func(x *node, r string) *node { // where the layer has the norm
		if p.weight(role(r)+".weight") == nil {
			return x
		}
		return p.norm(x, role(r))
	}
	add := func(x, y *node) *node {
		if hp.Residual != 0 {
			y = p.tape.divide(y, 1/hp.Residual)
		}
		return p.tape.add(x, y)
	}
	first := normed(x, "attn_norm")
	y := add(x, normed(f.attend(p, hp, role, first), "post_attention_norm"))
	h := first
	if !f.Parallel {
		h = normed(y, "ffn_norm")
	}
	if f.Experts != nil {
		return add(y, normed(p.experts(il, h, *f.Experts, p.tape.swiglu), "post_ffw_norm"))
	}
	up := p.linear(h, role("ffn_up"))
	switch {
	case f.Fused:
		h = p.tape.swiglu(p.tape.slice(up, 0, hp.NFF), p.tape.slice(up, hp.NFF, hp.NFF))
	case f.Ungated:
		h = p.tape.gelu(up)
	case f.GELU:
		h = p.tape.times(p.tape.gelu(p.linear(h, role("ffn_gate"))), up)
	default:
		h = p.tape.swiglu(p.linear(h, role("ffn_gate")), up)
	}
	return add(y, normed(p.linear(h, role("ffn_down")), "post_ffw_norm"))
}

func (f family) attend(p *Pass, hp HParams, role func(string) string, h *node) *node {
	q, k, v := p.linear(h, role("attn_q")), p.linear(h, role("attn_k")), p.linear(h, role("attn_v"))
	norm := func() {
		if f.QKNorm != "" {
			q = p.tape.rmsNorm(q, p.weight(role("attn_q_norm.weight")), hp.NormEps)
			k = p.tape.rmsNorm(k, p.weight(role("attn_k_norm.weight")), hp.NormEps)
		}
	}
	if !f.NormLate {
		norm()
	}
	if !hp.NoRope {
		var factors []float64
		if w := p.model.Weights["rope_freqs.weight"]; w != nil {
			factors = w.Data
		}
		keys := hp
		keys.Rope.Temp = 0 // the queries' alone
		q, k = p.tape.rope(q, p.tree, hp, factors), p.tape.rope(k, p.tree, keys, factors)
	}
	if f.NormLate {
		norm()
	}
	sinks := p.weight(role("attn_sinks.weight")) // which most have none of
	return p.linear(p.tape.sunkAttention(q, k, v, sinks, p.tree, hp), role("attn_output"))
}
