package arch

// Llama is Llama 2 and 3, Mistral, TinyLlama, SmolLM and others of their shape (llama.cpp's src/models/llama.cpp):
// RMSNorm, rotary positions over adjacent pairs, grouped-query attention, SwiGLU. Any matrix may have a bias.
var Llama = register(Arch{
	Name: "llama",
	Read: func(f Metadata) (*Net, error) {
		return readDecoder(f, traits{}, func(m *family) {
			m.Layer.Biases = biases{QKV: true, Output: true, FFN: true}
		})
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
