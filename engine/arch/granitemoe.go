package arch

// GraniteMoE is IBM's Granite 3 with experts (llama.cpp's src/models/granite.cpp): as granite, with experts in the
// place of the feed-forward network and, in some, a network beside them that every token has.
var GraniteMoE = register(Arch{
	Name: "granitemoe",
	Example: Example{Tokenizer: "gpt-2", Tied: true, Keys: map[string]any{"expert_count": 4, "expert_used_count": 2,
		"expert_shared_feed_forward_length": 64, "embedding_scale": float32(3), "residual_scale": float32(0.5),
		"attention.scale": float32(0.125), "logit_scale": float32(2)}},
	Read: func(f Metadata) (*Net, error) {
		return readDecoder(f, traits{Experts: true}, func(m *family) {
			m.granite()
			m.Layer.Biases.FFN = false
			m.experts(m.FF, true)
			m.shared(m.count("expert_shared_feed_forward_length"))
		})
	},
	Hub: Hub{ModelType: "granitemoe", Class: "GraniteMoeForCausalLM", Also: []string{"GraniteMoeSharedForCausalLM"},
		Layers: "model.layers", Modules: graniteMoEModules()},
})

func graniteMoEModules() map[Role]string {
	m := expertModules("block_sparse_moe", "router")
	m[FFNGateShexp], m[FFNUpShexp] = "shared_mlp.input_linear:gate", "shared_mlp.input_linear:up"
	m[FFNDownShexp] = "shared_mlp.output_linear"
	return m
}
