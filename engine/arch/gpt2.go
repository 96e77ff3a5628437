package arch

import "github.com/ggtune/ggtune/engine/graph"

// GPT2 is GPT-2 (llama.cpp's src/models/gpt2.cpp): LayerNorm, learned positions, one matrix for q, k and v, GELU,
// biases.
var GPT2 = register(Arch{
	Name:    "gpt2",
	Example: Example{Tokenizer: "gpt-2", Tied: true, AllHeads: true, Rounded: true},
	Read:    readGPT2,
	Hub: Hub{ModelType: "gpt2", Class: "GPT2LMHeadModel", Layers: "transformer.h", Conv1D: true, Tied: true,
		Modules: map[Role]string{
			TokenEmbd: "transformer.wte", PositionEmbd: "transformer.wpe", OutputNorm: "transformer.ln_f",
			Output: "lm_head", AttnNorm: "ln_1", AttnQKV: "attn.c_attn", AttnOutput: "attn.c_proj", FFNNorm: "ln_2",
			FFNUp: "mlp.c_fc", FFNDown: "mlp.c_proj",
		},
		Settings: []HubSetting{
			{Key: "block_count", Names: []string{"n_layer"}},
			{Key: "context_length", Names: []string{"n_positions", "n_ctx"}},
			{Key: "embedding_length", Names: []string{"n_embd"}},
			{Key: "feed_forward_length", Names: []string{"n_inner"}, Missing: HubFourWide},
			{Key: "attention.head_count", Names: []string{"n_head"}},
			{Key: "attention.layer_norm_epsilon", Names: []string{"layer_norm_epsilon"}, Float: true, Missing: 1e-5},
			{Key: HubFileType},
		},
		Must: map[string][]any{"activation_function": {"gelu_new"}, "scale_attn_weights": {true},
			"scale_attn_by_inverse_layer_idx": {false}, "add_cross_attention": {false}},
	},
})

func readGPT2(f Metadata) (*Net, error) {
	k := keysOf(f)
	hp, ff := k.hparams(), k.size("feed_forward_length", 0)
	hp.Positions = hp.NCtxTrain
	a, eps := k.attention(hp.NEmbd), k.float("attention.layer_norm_epsilon", 0)
	return &Net{
		HParams: hp, Sizes: sizes(ff, a),
		Embed: gpt2Embedding{embedding{Embd: hp.NEmbd, Vocab: hp.NVocab}, hp.Positions},
		Layer: func(int) Layer { return gpt2Layer{Embd: hp.NEmbd, FF: ff, AttentionAttr: a, Eps: eps} },
		Final: final{Embd: hp.NEmbd, Vocab: hp.NVocab, Norm: norm{Eps: eps, Layer: true, Bias: true}},
	}, k.err()
}

// A gpt2Embedding adds a vector of its own to each position.
type gpt2Embedding struct {
	embedding
	Positions int
}

func (e gpt2Embedding) Parts() []Part {
	return append(e.embedding.Parts(),
		Part{Role: PositionEmbd, Suffix: ".weight", Shape: []int64{int64(e.Embd), int64(e.Positions)}})
}

func (e gpt2Embedding) Build(b *Builder, _ graph.ID) graph.ID {
	positions := b.G.Rows(b.Weight(PositionEmbd, ".weight"), b.Indices(InputPos, b.T))
	return b.G.Add(e.embedding.Build(b, graph.None), positions)
}

type gpt2Layer struct {
	Embd, FF int
	graph.AttentionAttr
	Eps float64
}

func (l gpt2Layer) Parts() []Part {
	embd, ff, qkv := int64(l.Embd), int64(l.FF), int64((l.Heads+2*l.KVHeads)*l.HeadDim)
	weights := []Part{
		{Role: AttnNorm, Suffix: ".weight", Shape: []int64{embd}},
		{Role: AttnQKV, Suffix: ".weight", Shape: []int64{embd, qkv}, Linear: true},
		{Role: AttnOutput, Suffix: ".weight", Shape: []int64{embd, embd}, Linear: true},
		{Role: FFNNorm, Suffix: ".weight", Shape: []int64{embd}},
		{Role: FFNUp, Suffix: ".weight", Shape: []int64{embd, ff}, Linear: true},
		{Role: FFNDown, Suffix: ".weight", Shape: []int64{ff, embd}, Linear: true},
	}
	parts := weights
	for _, w := range weights { // every weight of a layer has its bias
		parts = append(parts, Part{Role: w.Role, Suffix: ".bias", Shape: w.Shape[len(w.Shape)-1:]})
	}
	return parts
}

func (l gpt2Layer) Build(b *Builder, x graph.ID) graph.ID {
	embd, kv := int64(l.Embd), int64(l.KVHeads*l.HeadDim)
	qkv := b.Linear(AttnQKV, b.LayerNorm(AttnNorm, x, l.Eps), graph.None)
	q, k, v := b.G.Slice(qkv, 0, embd), b.G.Slice(qkv, embd, kv), b.G.Slice(qkv, embd+kv, kv)
	x = b.Linear(AttnOutput, b.Attention(q, k, v, l.AttentionAttr), x)
	return b.Linear(FFNDown, b.G.GELU(b.Linear(FFNUp, b.LayerNorm(FFNNorm, x, l.Eps), graph.None)), x)
}
