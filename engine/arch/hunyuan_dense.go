package arch

// HunyuanDense is HunYuan 1, dense (llama.cpp's src/models/hunyuan-dense.cpp): as qwen3, with heads normalised behind
// their rotation.
var HunyuanDense = register(Arch{
	Name:    "hunyuan-dense",
	Example: Example{Tokenizer: "gpt-2", Tied: true, WideHeads: true},
	Read: func(f Metadata) (*Net, error) {
		return readDecoder(f, traits{Neox: true}, func(m *family) {
			m.Layer.Attn.QKNorm, m.Layer.Attn.NormLate, m.Layer.Attn.RopeFactors = qkPerHead, true, false
		})
	},
	Hub: Hub{ModelType: "hunyuan_v1_dense", Class: "HunYuanDenseV1ForCausalLM", Layers: "model.layers",
		Modules: hunyuanModules()},
})

func hunyuanModules() map[Role]string {
	m := decoderModules()
	m[AttnQNorm], m[AttnKNorm] = "self_attn.query_layernorm", "self_attn.key_layernorm"
	return m
}
