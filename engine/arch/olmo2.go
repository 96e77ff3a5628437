package arch

// OLMo2 is OLMo 2 and OLMo 3 (llama.cpp's src/models/olmo2.cpp): norms behind each half of a layer and none before,
// all heads of q and of k normalised at once. OLMo 3 is the one with a window: of four layers three see no further,
// at positions that are not stretched.
var OLMo2 = register(Arch{
	Name: "olmo2",
	Example: Example{Tokenizer: "gpt-2", Layers: olmo2Period,
		Keys: map[string]any{"attention.sliding_window": 8}},
	Read: func(f Metadata) (*Net, error) {
		return readDecoder(f, traits{Neox: true}, func(m *family) {
			m.square(m.Layer.Attn)
			m.Final.Head = mustOwnHead
			m.Layer.Norms = norms{norm: m.Layer.Norms.norm, AfterAttn: AttnPostNorm, AfterFFN: FFNPostNorm}
			m.Layer.Attn.QKNorm, m.Layer.Attn.RopeFactors = qkPerRow, false
			window := m.periodicWindow("attention.sliding_window", olmo2Period)
			m.Each = func(il int, l *decoder) {
				if window > 0 && il%olmo2Period < olmo2Period-1 {
					l.Attn.Window = window
					l.Attn.Rope.FreqScale, l.Attn.Rope.ExtFactor, l.Attn.Rope.AttnFactor = 1, 0, 1
				}
			}
		})
	},
	Hub: Hub{ModelType: "olmo2", Class: "Olmo2ForCausalLM", Also: []string{"Olmo3ForCausalLM"}, Layers: "model.layers",
		Modules: afterModules()},
})

const olmo2Period = 4

// afterModules are those of models whose norms stand behind the halves of a layer.
func afterModules() map[Role]string {
	m := decoderModules()
	delete(m, AttnNorm)
	delete(m, FFNNorm)
	m[AttnPostNorm], m[FFNPostNorm] = "post_attention_layernorm", "post_feedforward_layernorm"
	return m
}
