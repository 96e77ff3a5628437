package arch

// Phi3 is Phi-3, Phi-3.5 and Phi-4 (llama.cpp's src/models/phi3.cpp): as llama with q, k and v of one matrix and gate
// and up of another, and rotary positions over the halves of a part of each head. The window that some files name is
// not looked at, as llama.cpp does not.
//
// Of the factors of frequencies those for short contexts are taken, as by a llama.cpp whose context is no longer than
// the original one; longer sequences are not placed.
var Phi3 = register(Arch{
	Name: "phi3",
	Example: Example{
		Keys: map[string]any{"rope.dimension_count": 12, "rope.scaling.original_context_length": 512,
			"rope.scaling.attn_factor": float32(1.125)}},
	Read: func(f Metadata) (*Net, error) {
		return readDecoder(f, traits{Neox: true, PartRope: true, Stretch: []string{longRope}}, func(m *family) {
			m.square(m.Layer.Attn)
			a := &m.Layer.Attn
			a.Fused, a.RopeFactors, a.LongRope = true, false, true
			m.Layer.FFN = gated{Embd: m.NEmbd, FF: m.FF, Fused: true}
			m.Layer.Drops = drops{Attn: true, FFN: true}
			has := func(r Role) bool { return m.f.HasTensor(TensorName(r, ".weight", -1)) }
			if has(RopeShort) || has(RopeLong) {
				m.Positions = a.Rope.CtxOrig
			}
		})
	},
	Hub: Hub{ModelType: "phi3", Class: "Phi3ForCausalLM", Layers: "model.layers", Modules: map[Role]string{
		TokenEmbd: "model.embed_tokens", OutputNorm: "model.norm", Output: "lm_head",
		AttnNorm: "input_layernorm", AttnQKV: "self_attn.qkv_proj", AttnOutput: "self_attn.o_proj",
		FFNNorm: "post_attention_layernorm", FFNUp: "mlp.gate_up_proj", FFNDown: "mlp.down_proj",
	}},
})
