package arch

// StableLM is StableLM 3B and StableLM 2 1.6B (llama.cpp's src/models/stablelm.cpp): as llama, with LayerNorm, rotary
// positions of a part of each head, and biases on q, k and v if at all. The one of 12B, which normalises heads by
// weights of their own, is refused for its tensors.
var StableLM = register(Arch{
	Name:    "stablelm",
	Example: Example{Tokenizer: "gpt-2", Keys: map[string]any{"rope.dimension_count": 4}},
	Read: func(f Metadata) (*Net, error) {
		return readDecoder(f, traits{Neox: true, LayerNorm: true, NormBias: true, PartRope: true}, func(m *family) {
			m.square(m.Layer.Attn)
			m.Final.Head = mustOwnHead
			m.Layer.Attn.RopeFactors = false
			m.Layer.Biases = biases{QKV: true}
			m.Layer.Drops = drops{FFN: true}
		})
	},
	Hub: Hub{ModelType: "stablelm", Class: "StableLmForCausalLM", Layers: "model.layers", Modules: decoderModules()},
})
