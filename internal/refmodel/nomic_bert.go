package refmodel

import "fmt"

var _ = register(Architecture{
	Name: "nomic-bert", LayerNorm: true, Neox: true, Both: true, Types: true, EmbedNorm: true, Headless: true,
	Factors: []string{},
	Tensors: func(hp HParams, il int) []Tensor {
		var list []Tensor
		linear := func(role string, rows, cols int) {
			list = append(list, Tensor{Name: tensorName(il, role, "weight"), Rows: rows, Cols: cols, Linear: true})
		}
		norm := func(role string) {
			list = append(list, Tensor{Name: tensorName(il, role, "weight"), Rows: 1, Cols: hp.NEmbd},
				Tensor{Name: tensorName(il, role, "bias"), Rows: 1, Cols: hp.NEmbd})
		}
		linear("attn_qkv", (hp.NHead+2*hp.NHeadKV)*hp.HeadDim, hp.NEmbd)
		linear("attn_output", hp.NEmbd, hp.NHead*hp.HeadDim)
		norm("attn_output_norm")
		linear("ffn_gate", hp.NFF, hp.NEmbd)
		linear("ffn_up", hp.NFF, hp.NEmbd)
		linear("ffn_down", hp.NEmbd, hp.NFF)
		norm("layer_output_norm")
		return list
	},
	Layer: func(p *Pass, il int, x *node) *node {
		role := func(r string) string { return fmt.Sprintf("blk.%d.%s", il, r) }
		hp := p.model.HParams
		q, kv, qkv := hp.NHead*hp.HeadDim, hp.NHeadKV*hp.HeadDim, p.linear(x, role("attn_qkv"))
		queries := p.tape.rope(p.tape.slice(qkv, 0, q), p.tree, hp, nil)
		keys := p.tape.rope(p.tape.slice(qkv, q, kv), p.tree, hp, nil)
		seen := p.tape.attention(queries, keys, p.tape.slice(qkv, q+kv, kv), p.tree, hp)
		x = p.norm(p.tape.add(x, p.linear(seen, role("attn_output"))), role("attn_output_norm"))
		h := p.tape.swiglu(p.linear(x, role("ffn_gate")), p.linear(x, role("ffn_up")))
		return p.norm(p.tape.add(x, p.linear(h, role("ffn_down"))), role("layer_output_norm"))
	},
	Examples: []Example{
		{"nomic-bert", HParams{NLayer: 2, NEmbd: 48, NFF: 100, NHead: 3, NHeadKV: 3, HeadDim: 16, NVocab: 129,
			NTypes: 2, NCtxTrain: 128, NormEps: exampleEps,
			Rope: Rope{Dim: 16, Base: 1000, Scale: 1, Neox: true, AttnFactor: 1}},
			nil},
	},
})
