package arch

// Gemma2 is Gemma 2 (llama.cpp's src/models/gemma2-iswa.cpp): as gemma3 without norms of heads, scores and logits
// within bounds. Every other layer sees a window alone. The output head is always token_embd.weight.
var Gemma2 = register(Arch{
	Name: "gemma2",
	Example: Example{Tied: true, WideHeads: true, Rounded: true,
		Keys: map[string]any{"attention.sliding_window": 8, "attn_logit_softcapping": float32(1.5),
			"final_logit_softcapping": float32(3)}},
	Read: readGemma2,
	Hub:  Hub{ModelType: "gemma2", Class: "Gemma2ForCausalLM", Layers: "model.layers", Modules: gemmaModules(nil)},
})

func readGemma2(f Metadata) (*Net, error) {
	return readDecoder(f, traits{Neox: true, PartRope: true}, func(m *family) {
		m.gemma(46)
		m.Final.Head, m.LogitCap = noOwnHead, m.cap("final_logit_softcapping", 30)
		m.Layer.Attn.Cap = m.cap("attn_logit_softcapping", 50)
		window := m.window("attention.sliding_window", 4096)
		m.Each = func(il int, l *decoder) {
			if il%2 == 0 {
				l.Attn.Window = window
			}
		}
	})
}
