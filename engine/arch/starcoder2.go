package arch

// Starcoder2 is StarCoder 2 (llama.cpp's src/models/starcoder2.cpp): LayerNorm and GELU, with rotary positions, and a
// bias everywhere. The window of its makers llama.cpp does not heed, and so it is not heeded here.
var Starcoder2 = register(Arch{
	Name:    "starcoder2",
	Example: Example{Tokenizer: "gpt-2", Tied: true, Rounded: true},
	Read: func(f Metadata) (*Net, error) {
		return readDecoder(f, traits{Neox: true, LayerNorm: true, NormBias: true}, func(m *family) {
			m.square(m.Layer.Attn)
			m.Layer.FFN = ungated{Embd: m.NEmbd, FF: m.FF}
			m.Layer.Attn.RopeFactors = false
			m.Layer.Biases = biases{QKV: true, Output: true, FFN: true, Must: true}
			m.Embed.Drops, m.Layer.Drops = true, drops{Attn: true, FFN: true}
		})
	},
	Hub: Hub{ModelType: "starcoder2", Class: "Starcoder2ForCausalLM", Layers: "model.layers",
		Modules: starcoder2Modules()},
})

func starcoder2Modules() map[Role]string {
	m := decoderModules()
	delete(m, FFNGate)
	m[FFNUp], m[FFNDown] = "mlp.c_fc", "mlp.c_proj"
	return m
}
