package arch

import "github.com/ggtune/ggtune/engine/graph"

// GPTOSS is gpt-oss (llama.cpp's src/models/openai-moe-iswa.cpp): experts with biases, chosen first and weighed by a
// softmax of the chosen alone, whose gates are clamped; a sink for each head; every other layer sees a window.
var GPTOSS = register(Arch{
	Name: "gpt-oss",
	Example: Example{Tokenizer: "gpt-4o", WideHeads: true,
		Keys: map[string]any{"expert_count": 4, "expert_used_count": 2, "attention.sliding_window": 8,
			"rope.scaling.type": "yarn", "rope.scaling.factor": float32(4),
			"rope.scaling.original_context_length": 16}},
	Read: func(f Metadata) (*Net, error) {
		return readDecoder(f, traits{Neox: true, Experts: true}, func(m *family) {
			m.Final.Head = mustOwnHead
			m.Layer.Norms.BeforeFFN = AttnPostNorm
			m.Layer.Attn.RopeFactors, m.Layer.Attn.Sinks = false, true
			m.Layer.Biases = biases{QKV: true, Output: true, FFN: true, Must: true}
			m.experts(m.size("expert_feed_forward_length", 0), false)
			chosen := m.Layer.FFN.(experts)
			chosen.Gating.Kind, chosen.OAI = graph.GateSoftmaxChosen, true
			m.Layer.FFN = chosen
			const seen = "attention.sliding_window"
			window := m.periodicWindow(seen, 2)
			if window == 0 {
				window = m.size(seen, 0)
			}
			m.Each = func(il int, l *decoder) {
				if il%2 == 0 {
					l.Attn.Window = window
				}
			}
		})
	},
	Hub: Hub{ModelType: "gpt_oss", Class: "GptOssForCausalLM", Layers: "model.layers", Modules: ossModules()},
})

// ossModules are those of llama's family, with a router and sinks.
func ossModules() map[Role]string {
	m := expertModules("mlp", "router")
	delete(m, FFNNorm)
	m[AttnPostNorm], m[AttnSinks] = "post_attention_layernorm", "self_attn.sinks"
	return m
}
