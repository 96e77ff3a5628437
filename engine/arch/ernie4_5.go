package arch

// Ernie4_5 is ERNIE 4.5, dense (llama.cpp's src/models/ernie4-5.cpp): as llama, with biases on q, k and v if at all.
var Ernie4_5 = register(Arch{
	Name:    "ernie4_5",
	Example: Example{Tied: true, WideHeads: true},
	Read: func(f Metadata) (*Net, error) {
		return readDecoder(f, traits{}, func(m *family) {
			m.Layer.Biases = biases{QKV: true}
			m.Layer.Attn.RopeFactors, m.Layer.Attn.SameOrder = false, true
		})
	},
	Hub: Hub{ModelType: "ernie4_5", Class: "Ernie4_5ForCausalLM", Layers: "model.layers", Modules: decoderModules()},
})
