package refmodel

import "fmt"

var _ = register(Architecture{
	Name:      "bert",
	LayerNorm: true,
	Positions: true,
	Both:      true,
	Types:     true,
	EmbedNorm: true,
	Headless:  true,
	Tensors:   bertTensors,
	Layer:     bertLayer,
	Examples: []Example{
		{"bert", HParams{NLayer: 2, NEmbd: 36, NFF: 100, NHead: 3, NHeadKV: 3, HeadDim: 12, NVocab: 129, NTypes: 2,
			NCtxTrain: 128, NormEps: exampleEps}, nil},
		{"bert, one type", HParams{NLayer: 1, NEmbd: 64, NFF: 64, NHead: 2, NHeadKV: 2, HeadDim: 32, NVocab: 96,
			NTypes: 1, NCtxTrain: 128, NormEps: exampleEps}, nil},
	},
})

// bertTensors lists layer il of bert.
func bertTensors(hp HParams, il int) []Tensor {
	var list []Tensor
	add := func(role string, rows, cols int) {
		biases := rows
		if rows == 1 { // a norm
			biases = cols
		}
		list = append(list, Tensor{Name: tensorName(il, role, "weight"), Rows: rows, Cols: cols, Linear: rows > 1},
			Tensor{Name: tensorName(il, role, "bias"), Rows: 1, Cols: biases})
	}
	add("attn_q", hp.NHead*hp.HeadDim, hp.NEmbd)
	add("attn_k", hp.NHeadKV*hp.HeadDim, hp.NEmbd)
	add("attn_v", hp.NHeadKV*hp.HeadDim, hp.NEmbd)
	add("attn_output", hp.NEmbd, hp.NHead*hp.HeadDim)
	add("attn_output_norm", 1, hp.NEmbd)
	add("ffn_up", hp.NFF, hp.NEmbd)
	add("ffn_down", hp.NEmbd, hp.NFF)
	add("layer_output_norm", 1, hp.NEmbd)
	return list
}

// bertLayer is a layer of bert: each half is added, then normalised.
func bertLayer(p *Pass, il int, x *node) *node {
	role := func(r string) string { return fmt.Sprintf("blk.%d.%s", il, r) }
	q, k, v := p.linear(x, role("attn_q")), p.linear(x, role("attn_k")), p.linear(x, role("attn_v"))
	attended := p.linear(p.tape.attention(q, k, v, p.tree, p.model.HParams), role("attn_output"))
	x = p.norm(p.tape.add(x, attended), role("attn_output_norm"))
	h := p.linear(p.tape.gelu(p.linear(x, role("ffn_up"))), role("ffn_down"))
	return p.norm(p.tape.add(x, h), role("layer_output_norm"))
}
