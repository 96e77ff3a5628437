package arch

// Cohere2 is Command R7B and its kin (llama.cpp's src/models/cohere2-iswa.cpp): LayerNorm without biases, both
// halves of a layer beside each other, a factor of the logits. Of four layers three see a window alone, and the
// fourth does not look at positions. The output head is always token_embd.weight.
var Cohere2 = register(Arch{
	Name: "cohere2",
	Example: Example{Tokenizer: "gpt-2", Tied: true, Layers: cohere2Period,
		Keys: map[string]any{"attention.sliding_window": 8, "logit_scale": float32(0.5)}},
	Read: func(f Metadata) (*Net, error) {
		return readDecoder(f, traits{LayerNorm: true, PartRope: true}, func(m *family) {
			m.square(m.Layer.Attn)
			m.Final.Head, m.LogitScale = noOwnHead, m.float("logit_scale", 0)
			m.Layer.Parallel, m.Layer.Norms.BeforeFFN = true, ""
			m.Layer.Attn.RopeFactors, m.Layer.Attn.SameOrder = false, true
			m.size("attention.sliding_window", 0) // must be there
			window := m.periodicWindow("attention.sliding_window", cohere2Period)
			m.windowsOrNoRope(window, cohere2Period)
		})
	},
	Hub: Hub{ModelType: "cohere2", Class: "Cohere2ForCausalLM", Layers: "model.layers", Modules: decoderModules(),
		Tied: true},
})

const cohere2Period = 4
