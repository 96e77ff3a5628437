package refmodel

import "fmt"

var _ = register(Architecture{
	Name: "phi3", Neox: true, Factors: []string{"rope_factors_short.weight", "rope_factors_long.weight"},
	Tensors: phi3Tensors,
	Layer:   phi3Layer,
	Examples: []Example{
		{"phi3", HParams{NLayer: 2, NEmbd: 48, NFF: 35, NHead: 3, NHeadKV: 1, HeadDim: 16, NVocab: 120, NCtxTrain: 128,
			NormEps: exampleEps, Rope: Rope{Dim: 12, Base: 10000, Scale: 1, Neox: true, AttnFactor: 1.25,
				CtxOrig: 512}}, // no less than the least context of llama.cpp, which takes the long factors beyond it
			func(string) bool { return true }},
		{"phi3, tied, without factors", HParams{NLayer: 1, NEmbd: 32, NFF: 24, NHead: 2, NHeadKV: 2, HeadDim: 16,
			NVocab: 96, NCtxTrain: 128, NormEps: exampleEps, Rope: exampleRope(16, true)}, nil},
	},
})

// phi3Tensors have q, k and v in one matrix, and gate and up in another.
func phi3Tensors(hp HParams, il int) []Tensor {
	q, kv := hp.NHead*hp.HeadDim, hp.NHeadKV*hp.HeadDim
	norm := func(role string) Tensor { return Tensor{Name: tensorName(il, role, "weight"), Rows: 1, Cols: hp.NEmbd} }
	linear := func(role string, rows, cols int) Tensor {
		return Tensor{Name: tensorName(il, role, "weight"), Rows: rows, Cols: cols, Linear: true}
	}
	return []Tensor{norm("attn_norm"), linear("attn_qkv", q+2*kv, hp.NEmbd), linear("attn_output", hp.NEmbd, q),
		norm("ffn_norm"), linear("ffn_up", 2*hp.NFF, hp.NEmbd), linear("ffn_down", hp.NEmbd, hp.NFF)}
}

func phi3Layer(p *Pass, il int, x *node) *node {
	hp, role := p.model.HParams, func(r string) string { return fmt.Sprintf("blk.%d.%s", il, r) }
	qkv := p.linear(p.norm(x, role("attn_norm")), role("attn_qkv"))
	heads, kv := hp.NHead*hp.HeadDim, hp.NHeadKV*hp.HeadDim
	q, k, v := p.tape.slice(qkv, 0, heads), p.tape.slice(qkv, heads, kv), p.tape.slice(qkv, heads+kv, kv)
	var factors []float64
	if f := p.model.Weights["rope_factors_short.weight"]; f != nil {
		factors = f.Data
	}
	q, k = p.tape.rope(q, p.tree, hp, factors), p.tape.rope(k, p.tree, hp, factors)
	x = p.tape.add(x, p.linear(p.tape.attention(q, k, v, p.tree, hp), role("attn_output")))
	h := p.linear(p.norm(x, role("ffn_norm")), role("ffn_up"))
	h = p.tape.swiglu(p.tape.slice(h, 0, hp.NFF), p.tape.slice(h, hp.NFF, hp.NFF))
	return p.tape.add(x, p.linear(h, role("ffn_down")))
}
