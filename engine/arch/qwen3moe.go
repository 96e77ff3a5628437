package arch

// Qwen3MoE is Qwen 3 with experts (llama.cpp's src/models/qwen3moe.cpp): as qwen3, with experts in the place of the
// feed-forward network, whose weights add up to 1.
var Qwen3MoE = register(Arch{
	Name: "qwen3moe",
	Example: Example{Tokenizer: "qwen2", WideHeads: true,
		Keys: map[string]any{"expert_count": 4, "expert_used_count": 2}},
	Read: func(f Metadata) (*Net, error) {
		return readDecoder(f, traits{Neox: true, Experts: true}, func(m *family) {
			m.Layer.Attn.QKNorm = qkPerHead
			m.experts(m.size("expert_feed_forward_length", 0), true)
		})
	},
	Hub: Hub{ModelType: "qwen3_moe", Class: "Qwen3MoeForCausalLM", Layers: "model.layers",
		Modules: expertModules("mlp", "gate")},
})
