package arch

// Exaone4 is EXAONE 4 (llama.cpp's src/models/exaone4.cpp): norms behind each half of a layer and none before, each
// head of q and k normalised. In the model of 64 layers three of four see a window alone, and the fourth does not
// look at positions. Windows of other models llama.cpp does not heed, and so are not heeded here.
var Exaone4 = register(Arch{
	Name:    "exaone4",
	Example: Example{Tokenizer: "gpt-2", Tied: true, Keys: map[string]any{"attention.sliding_window": 8}},
	Read: func(f Metadata) (*Net, error) {
		return readDecoder(f, traits{Neox: true}, func(m *family) {
			m.square(m.Layer.Attn)
			m.Layer.Norms = norms{norm: m.Layer.Norms.norm, AfterAttn: AttnPostNorm, AfterFFN: FFNPostNorm}
			m.Layer.Attn.QKNorm = qkPerHead
			if m.NLayer != 64 {
				return
			}
			m.windowsOrNoRope(m.window("attention.sliding_window", 4096), 4)
		})
	},
	Hub: Hub{ModelType: "exaone4", Class: "Exaone4ForCausalLM", Layers: "model.layers", Modules: afterModules()},
})
