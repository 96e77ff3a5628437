package arch

import (
	"maps"
	"math"
)

// Gemma3 is Gemma 3 for text (llama.cpp's src/models/gemma3.cpp): RMSNorm before and after each half of a layer and of
// each head, GEGLU, embeddings times √n_embd. Of six layers five see a window alone, at rotary positions of a base of
// their own.
var Gemma3 = register(Arch{
	Name: "gemma3",
	Example: Example{Tied: true, WideHeads: true, Rounded: true, Layers: gemma3Period,
		Keys: map[string]any{"attention.sliding_window": 8}},
	Read: readGemma3,
	Hub: Hub{ModelType: "gemma3_text", Class: "Gemma3ForCausalLM", Layers: "model.layers", Modules: gemmaModules(
		map[Role]string{AttnQNorm: "self_attn.q_norm", AttnKNorm: "self_attn.k_norm"})},
})

const (
	gemma3Period = 6     // the last of so many layers sees everything
	gemma3Local  = 10000 // the base of rotary positions within windows
)

func readGemma3(f Metadata) (*Net, error) {
	return readDecoder(f, traits{Neox: true, PartRope: true}, func(m *family) {
		m.gemma(62)
		m.LogitCap = m.cap("final_logit_softcapping", 0)
		m.Layer.Attn.QKNorm = qkPerHead
		window := m.periodicWindow("attention.sliding_window", gemma3Period)
		m.Each = func(il int, l *decoder) {
			if window > 0 && il%gemma3Period < gemma3Period-1 {
				l.Attn.Window, l.Attn.Rope.FreqBase, l.Attn.Rope.FreqScale = window, gemma3Local, 1
			}
		}
	})
}

// gemma makes what all Gemmas have in common. The largest model of a generation, known by its layers, divides scores by
// the root of n_embd/n_head, the others by that of the size of a head (llama.cpp's src/llama-model.cpp, load_hparams).
func (m *family) gemma(largest int) {
	a := &m.Layer.Attn
	if m.NLayer == largest {
		a.Scale = 1 / math.Sqrt(float64(m.NEmbd/a.Heads))
	}
	a.RopeFactors = false
	m.Layer.Norms.AfterAttn, m.Layer.Norms.AfterFFN = AttnPostNorm, FFNPostNorm
	m.Layer.FFN = gated{Embd: m.NEmbd, FF: m.FF, GELU: true}
	m.Embed.Scale = math.Sqrt(float64(m.NEmbd))
}

// gemmaModules are those of Gemma 2, with more.
func gemmaModules(more map[Role]string) map[Role]string {
	m := decoderModules()
	delete(m, AttnQNorm)
	delete(m, AttnKNorm)
	m[AttnPostNorm], m[FFNNorm], m[FFNPostNorm] = "post_attention_layernorm", "pre_feedforward_layernorm",
		"post_feedforward_layernorm"
	maps.Copy(m, more)
	return m
}
