package arch

// Qwen3 is Qwen 3, dense (llama.cpp's src/models/qwen3.cpp): as qwen2 without the biases, each head of q and k
// normalised before it is rotated, and a head size of its own.
var Qwen3 = register(Arch{
	Name:    "qwen3",
	Ranks:   true,
	Example: Example{Tokenizer: "qwen2", WideHeads: true},
	Read: func(f Metadata) (*Net, error) {
		return readDecoder(f, traits{Neox: true}, func(m *family) { m.Layer.Attn.QKNorm = qkPerHead })
	},
	Hub: Hub{ModelType: "qwen3", Class: "Qwen3ForCausalLM", Layers: "model.layers", Modules: decoderModules(),
		Settings: decoderSettings(
			HubSetting{Key: "attention.key_length", Names: []string{"head_dim"}, Missing: 128},
			HubSetting{Key: "attention.value_length", Names: []string{"head_dim"}, Missing: 128},
			HubSetting{Key: HubFileType}),
		Must: decoderMust()},
})
