package arch

// Qwen2 is Qwen 2 and 2.5 (llama.cpp's src/models/qwen2.cpp): as llama, with biases on q, k and v and rotary positions
// over the halves of a head.
var Qwen2 = register(Arch{
	Name:    "qwen2",
	Example: Example{Tokenizer: "qwen2", Tied: true, Biases: true},
	Read: func(f Metadata) (*Net, error) {
		return readDecoder(f, traits{Neox: true}, func(m *family) { m.Layer.Biases = biases{QKV: true} })
	},
	Hub: Hub{ModelType: "qwen2", Class: "Qwen2ForCausalLM", Layers: "model.layers", Modules: decoderModules(),
		Settings: decoderSettings(
			HubSetting{Key: "attention.key_length", Names: []string{"head_dim"}, Optional: true},
			HubSetting{Key: "attention.value_length", Names: []string{"head_dim"}, Optional: true},
			HubSetting{Key: HubFileType}),
		Biases: []HubBias{{Roles: []Role{AttnQ, AttnK, AttnV}}},
		Must:   decoderMust()},
})
