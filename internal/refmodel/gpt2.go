package refmodel

import "fmt"

var _ = register(Architecture{
	Name:      "gpt2",
	LayerNorm: true,
	Positions: true,
	Tensors:   gpt2Tensors,
	Layer:     gpt2Layer,
	Examples: []Example{
		{"gpt2", HParams{NLayer: 2, NEmbd: 36, NFF: 100, NHead: 3, NHeadKV: 3, HeadDim: 12, NVocab: 129, NCtxTrain: 128,
			NormEps: exampleEps}, nil},
		{"gpt2 untied",
			HParams{NLayer: 1, NEmbd: 64, NFF: 64, NHead: 2, NHeadKV: 2, HeadDim: 32, NVocab: 96, NCtxTrain: 128,
				NormEps: exampleEps}, onlyOutput},
	},
})

// gpt2Tensors lists layer il of gpt2.
func gpt2Tensors(hp HParams, il int) []Tensor {
	var list []Tensor
	add := func(role string, rows, cols int) {
		list = append(list,
			Tensor{Name: tensorName(il, role, "weight"), Rows: rows, Cols: cols, Linear: rows > 1},
			Tensor{Name: tensorName(il, role, "bias"), Rows: 1, Cols: max(rows, 1)})
		if rows == 1 { // a norm: its bias is as long as its weight
			list[len(list)-1].Cols = cols
		}
	}
	add("attn_norm", 1, hp.NEmbd)
	add("attn_qkv", (hp.NHead+2*hp.NHeadKV)*hp.HeadDim, hp.NEmbd)
	add("attn_output", hp.NEmbd, hp.NHead*hp.HeadDim)
	add("ffn_norm", 1, hp.NEmbd)
	add("ffn_up", hp.NFF, hp.NEmbd)
	add("ffn_down", hp.NEmbd, hp.NFF)
	return list
}

// gpt2Layer is a layer of gpt2.
func gpt2Layer(p *Pass, il int, x *node) *node {
	hp, role := p.model.HParams, func(r string) string { return fmt.Sprintf("blk.%d.%s", il, r) }
	qkv := p.linear(p.norm(x, role("attn_norm")), role("attn_qkv"))
	nq, nkv := hp.NHead*hp.HeadDim, hp.NHeadKV*hp.HeadDim
	q, k, v := p.tape.slice(qkv, 0, nq), p.tape.slice(qkv, nq, nkv), p.tape.slice(qkv, nq+nkv, nkv)
	x = p.tape.add(x, p.linear(p.tape.attention(q, k, v, p.tree, hp), role("attn_output")))
	h := p.tape.gelu(p.linear(p.norm(x, role("ffn_norm")), role("ffn_up")))
	return p.tape.add(x, p.linear(h, role("ffn_down")))
}
