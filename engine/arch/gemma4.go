package arch

// Gemma4 is the dense Gemma 4 for text (llama.cpp's src/models/gemma4.cpp): as gemma3 with values of a mean square of
// 1, scores that nothing divides, and a constant that each layer's rows are multiplied by. Layers with a window have
// heads of their own, in size and number, and rotary positions of a base of their own; those that see everything may
// take for values what comes of the keys' matrix, and divide the frequencies of most pairs by an endless factor.
//
// The small ones (E2B, E4B) are refused: their last layers look at keys and values of earlier ones, and every layer at
// an embedding of its own; and so are those with experts.
var Gemma4 = register(Arch{
	Name: "gemma4",
	Example: Example{Tied: true, WideHeads: true, Rounded: true, QNorm: 0.25,
		Keys: map[string]any{"attention.sliding_window": 8, gemma4Pattern: []bool{true, false}, kvHeads: []int{2, 1},
			"attention.key_length_swa": 16, "attention.value_length_swa": 16, "rope.dimension_count_swa": 16,
			"rope.freq_base_swa": float32(1000), "final_logit_softcapping": float32(3), gemma4PerLayer: 0,
			gemma4SharedKV: 0},
		Where: map[Role]string{AttnV: gemma4Pattern}},
	Read:  readGemma4,
	Newer: true,
	Hub: Hub{ModelType: "gemma4_text", Class: "Gemma4ForCausalLM", Layers: "model.layers", Modules: gemmaModules(
		map[Role]string{AttnQNorm: "self_attn.q_norm", AttnKNorm: "self_attn.k_norm"})},
})

const (
	gemma4Pattern  = "attention.sliding_window_pattern"
	gemma4SharedKV = "attention.shared_kv_layers"
	gemma4PerLayer = "embedding_length_per_layer_input"
)

func readGemma4(f Metadata) (*Net, error) {
	return readDecoder(f, traits{Neox: true, KVByLayer: true}, func(m *family) {
		m.zero(gemma4SharedKV, true, "so many layers take keys and values of earlier ones, as in E2B and E4B")
		m.zero(gemma4PerLayer, false, "each layer has embeddings of its own, of so many numbers, as in E2B and E4B")
		m.gemma(0)
		m.LogitCap = m.cap("final_logit_softcapping", 30)
		a := &m.Layer.Attn
		a.QKNorm, a.UnitV, a.Scale, a.RopeFactors, a.MustFactors = qkPerHead, true, 1, true, true
		m.Layer.Scaled = true
		near := *a
		near.Window, near.RopeFactors = m.size("attention.sliding_window", 0), false
		near.HeadDim = m.headDim("_swa", 0)
		near.Rope.FreqBase, near.Rope.FreqScale = m.float("rope.freq_base_swa", 10000), 1
		near.Rope.Dim = m.rotated("rope.dimension_count_swa", a.Rope.Dim, near.HeadDim)
		windows, kv := m.windows(gemma4Pattern, m.NLayer), m.layers(kvHeads, m.NLayer, 1, a.Heads)
		for il := range m.NLayer {
			m.shareable(a.Heads, kv(il))
		}
		m.Each = func(il int, l *decoder) {
			if windows[il] {
				l.Attn = near
			}
			l.Attn.KVHeads = kv(il)
			l.Attn.KeyIsV = !m.f.HasTensor(TensorName(AttnV, ".weight", il))
		}
	})
}
