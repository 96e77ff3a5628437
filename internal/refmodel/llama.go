package refmodel

import "fmt"

var _ = register(Architecture{
	Name:    "llama",
	Tensors: func(hp HParams, il int) []Tensor { return ropeTensors(hp, il, allBiased, false) },
	Layer:   ropeLayer,
	Examples: []Example{
		{"llama", HParams{NLayer: 3, NEmbd: 64, NFF: 96, NHead: 4, NHeadKV: 2, HeadDim: 16, NVocab: 300, NCtxTrain: 128,
			NormEps: exampleEps, Rope: exampleRope(16, false)}, onlyOutput},
		{"llama, every optional tensor, odd sizes", HParams{NLayer: 2, NEmbd: 42, NFF: 51, NHead: 3, NHeadKV: 1,
			HeadDim: 14, NVocab: 77, NCtxTrain: 128, NormEps: exampleEps, Rope: exampleRope(14, false)},
			func(string) bool { return true }},
		{"llama, heads of 80", HParams{NLayer: 1, NEmbd: 80, NFF: 33, NHead: 1, NHeadKV: 1, HeadDim: 80, NVocab: 65,
			NCtxTrain: 128, NormEps: exampleEps, Rope: exampleRope(80, false)}, nil},
	},
})

func allBiased(string) bool { return true }

// ropeTensors lists layer il of an architecture with RMSNorm, rotary positions and a gated feed-forward network: biased
// names the roles that may have a bias; headNorm: heads of q and k are normalised.
func ropeTensors(hp HParams, il int, biased func(role string) bool, headNorm bool) []Tensor {
	q, kv := hp.NHead*hp.HeadDim, hp.NHeadKV*hp.HeadDim
	var list []Tensor
	norm := func(role string, n int) {
		list = append(list, Tensor{Name: tensorName(il, role, "weight"), Rows: 1, Cols: n})
	}
	linear := func(role string, rows, cols int) {
		list = append(list, Tensor{Name: tensorName(il, role, "weight"), Rows: rows, Cols: cols, Linear: true})
		if biased(role) {
			list = append(list, Tensor{Name: tensorName(il, role, "bias"), Rows: 1, Cols: rows, Optional: true})
		}
	}
	norm("attn_norm", hp.NEmbd)
	linear("attn_q", q, hp.NEmbd)
	linear("attn_k", kv, hp.NEmbd)
	linear("attn_v", kv, hp.NEmbd)
	if headNorm {
		norm("attn_q_norm", hp.HeadDim)
		norm("attn_k_norm", hp.HeadDim)
	}
	linear("attn_output", hp.NEmbd, q)
	norm("ffn_norm", hp.NEmbd)
	linear("ffn_gate", hp.NFF, hp.NEmbd)
	linear("ffn_up", hp.NFF, hp.NEmbd)
	linear("ffn_down", hp.NEmbd, hp.NFF)
	return list
}

// ropeLayer is a layer of llama, qwen2 or qwen3.
func ropeLayer(p *Pass, il int, x *node) *node {
	hp, role := p.model.HParams, func(r string) string { return fmt.Sprintf("blk.%d.%s", il, r) }
	h := p.norm(x, role("attn_norm"))
	q, k, v := p.linear(h, role("attn_q")), p.linear(h, role("attn_k")), p.linear(h, role("attn_v"))
	if p.weight(role("attn_q_norm.weight")) != nil {
		q, k = p.norm(q, role("attn_q_norm")), p.norm(k, role("attn_k_norm"))
	}
	var factors []float64
	if f := p.model.Weights["rope_freqs.weight"]; f != nil {
		factors = f.Data
	}
	q, k = p.tape.rope(q, p.tree, hp, factors), p.tape.rope(k, p.tree, hp, factors)
	x = p.tape.add(x, p.linear(p.tape.attention(q, k, v, p.tree, hp), role("attn_output")))
	h = p.norm(x, role("ffn_norm"))
	h = p.tape.swiglu(p.linear(h, role("ffn_gate")), p.linear(h, role("ffn_up")))
	return p.tape.add(x, p.linear(h, role("ffn_down")))
}
