package arch

import "github.com/ggtune/ggtune/engine/graph"

// Llama is Llama 2 and 3, Mistral, TinyLlama, SmolLM and others of their shape (llama.cpp's src/models/llama.cpp):
// RMSNorm, rotary positions over adjacent pairs, grouped-query attention, SwiGLU.
var Llama = register(Arch{
	Name: "llama",
	Read: func(f Metadata) (*Net, error) {
		return readDecoder(f, false, func(l decoder) Layer { return llamaLayer{l} })
	},
	Hub: Hub{ModelType: "llama", Class: "LlamaForCausalLM", Also: []string{"MistralForCausalLM"},
		Layers: "model.layers", Modules: decoderModules(),
		Settings: decoderSettings(
			HubSetting{Key: "attention.key_length", Names: []string{"head_dim"}, Missing: HubPerHead},
			HubSetting{Key: "attention.value_length", Names: []string{"head_dim"}, Missing: HubPerHead},
			HubSetting{Key: HubFileType},
			HubSetting{Key: "vocab_size", Names: []string{"vocab_size"}},
			HubSetting{Key: "rope.dimension_count", Names: []string{"head_dim"}, Missing: HubPerHead}),
		Biases: []HubBias{{"attention_bias", []Role{AttnQ, AttnK, AttnV, AttnOutput}},
			{"mlp_bias", []Role{FFNGate, FFNUp, FFNDown}}},
		Must: llamaMust()},
})

// llamaMust has all positions seen: Mistral's first models saw a window of them.
func llamaMust() map[string][]any {
	m := decoderMust()
	m["sliding_window"] = []any{nil}
	return m
}

// A llamaLayer may have a bias beside each of its matrices.
type llamaLayer struct{ decoder }

func (l llamaLayer) Parts() []Part {
	parts := l.decoder.Parts()
	return append(parts, biases(parts)...)
}

// A decoder is a layer of attention with rotary positions and SwiGLU.
type decoder struct {
	Attn attention
	FFN  gated
}

func (l decoder) Parts() []Part { return append(l.Attn.parts(), l.FFN.parts()...) }

func (l decoder) Build(b *Builder, x graph.ID) graph.ID { return l.FFN.build(b, l.Attn.build(b, x)) }

// readDecoder reads a model whose layers are all alike: layer says what becomes of the usual one.
func readDecoder(f Metadata, neox bool, layer func(decoder) Layer) (*Net, error) {
	k := keysOf(f)
	hp, ff := k.hparams(), k.size("feed_forward_length", 0)
	a, eps := k.attention(hp.NEmbd), k.float("attention.layer_norm_rms_epsilon", 0)
	all := layer(decoder{
		Attn: attention{Embd: hp.NEmbd, AttentionAttr: a, Eps: eps, Rope: k.rope(hp, a.HeadDim, neox),
			RopeFactors: true},
		FFN: gated{Embd: hp.NEmbd, FF: ff, Eps: eps},
	})
	return &Net{
		HParams: hp, Sizes: sizes(ff, a),
		Embed: embedding{hp.NEmbd, hp.NVocab},
		Layer: func(int) Layer { return all },
		Final: rmsFinal{Embd: hp.NEmbd, Vocab: hp.NVocab, Eps: eps},
	}, k.err()
}
