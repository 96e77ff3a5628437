package arch

import (
	"slices"

	"github.com/ggtune/ggtune/engine/graph"
)

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
			{Key: HubContext, Names: []string{"n_positions", "n_ctx"}},
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
	k.dense()
	hp.Positions = hp.NCtxTrain
	a, eps := k.attention(hp.NEmbd, false), k.float("attention.layer_norm_epsilon", 0)
	n := norm{Eps: eps, Layer: true, Bias: true}
	layer := gpt2Layer{decoder{
		Norms: norms{norm: n, BeforeAttn: AttnNorm, BeforeFFN: FFNNorm},
		Attn:  attention{Embd: hp.NEmbd, AttentionAttr: a, NoRope: true, Fused: true},
		FFN:   ungated{Embd: hp.NEmbd, FF: ff},
		Drops: drops{Attn: true, FFN: true},
	}}
	k.square(layer.Attn)
	return &Net{
		HParams: hp, Sizes: sizes(ff, a),
		Embed: gpt2Embedding{embedding{Embd: hp.NEmbd, Vocab: hp.NVocab}, hp.Positions},
		Layer: func(int) Layer { return layer },
		Final: final{Embd: hp.NEmbd, Vocab: hp.NVocab, Norm: n},
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
	return b.Dropped(b.G.Add(e.embedding.Build(b, graph.None), positions))
}

// A gpt2Layer lists its parts in an order of its own, which states of training go by.
type gpt2Layer struct{ decoder }

func (l gpt2Layer) Parts() []Part {
	weights := slices.DeleteFunc(l.decoder.Parts(), func(p Part) bool { return p.Suffix == ".bias" })
	parts := weights
	for _, w := range weights { // every weight of a layer has its bias
		parts = append(parts, Part{Role: w.Role, Suffix: ".bias", Shape: w.Shape[len(w.Shape)-1:]})
	}
	return parts
}
