package arch

// OLMoE is AllenAI's OLMoE (llama.cpp's src/models/olmoe.cpp): as llama, queries and keys of all heads normalised at
// once, with experts in the place of the feed-forward network, whose weights are those of the softmax over all.
var OLMoE = register(Arch{
	Name: "olmoe",
	Example: Example{Tokenizer: "gpt-2", AllHeads: true,
		Keys: map[string]any{"expert_count": 4, "expert_used_count": 2}},
	Read: func(f Metadata) (*Net, error) {
		return readDecoder(f, traits{Neox: true, Experts: true}, func(m *family) {
			m.Layer.Attn.QKNorm, m.Layer.Attn.RopeFactors = qkPerRow, false
			m.Final.Head = mustOwnHead
			m.square(m.Layer.Attn)
			if a := m.Layer.Attn; a.KVHeads != a.Heads {
				m.fail("%d key heads for %d heads, expected as many: llama.cpp normalises the keys of a %s only so",
					a.KVHeads, a.Heads, m.arch)
			}
			m.experts(m.FF, false)
		})
	},
	Hub: Hub{ModelType: "olmoe", Class: "OlmoeForCausalLM", Layers: "model.layers",
		Modules: expertModules("mlp", "gate")},
})
