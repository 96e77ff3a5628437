package arch

// Granite is IBM's Granite 3 and 4, dense (llama.cpp's src/models/granite.cpp): as llama, with factors of the
// embeddings, of the scores and of what each half of a layer adds, and a divisor of the logits.
var Granite = register(Arch{
	Name: "granite",
	Example: Example{Tokenizer: "gpt-2", Tied: true, Keys: map[string]any{"embedding_scale": float32(3),
		"residual_scale": float32(0.5), "attention.scale": float32(0.125), "logit_scale": float32(2)}},
	Read: func(f Metadata) (*Net, error) {
		return readDecoder(f, traits{}, (*family).granite)
	},
	Hub: Hub{ModelType: "granite", Class: "GraniteForCausalLM", Layers: "model.layers", Modules: decoderModules()},
})

// granite makes what all Granites have.
func (m *family) granite() {
	m.Layer.Biases = biases{QKV: true, Output: true, FFN: true}
	m.Embed.Scale, m.Layer.Residual = m.float("embedding_scale", 0), m.float("residual_scale", 0)
	m.Layer.Attn.Scale, m.LogitScale = m.float("attention.scale", 0), 1/m.float("logit_scale", 0)
	// A model whose positions other layers keep says so by a key that has another meaning elsewhere.
	m.Layer.Attn.NoRope = !m.flag("rope.scaling.finetuned", true)
}
