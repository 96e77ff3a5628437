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
	k := keysOf(f)
	g := k.gemma(46)
	g.Attn.Cap = k.cap("attn_logit_softcapping", 50)
	hp := g.hp
	hp.TiedOutput, hp.LogitCap = true, k.cap("final_logit_softcapping", 30)
	window := k.window("attention.sliding_window", 4096)
	return &Net{
		HParams: hp, Sizes: sizes(g.FFN.FF, g.Attn.AttentionAttr),
		Embed: gemmaEmbedding{embedding{hp.NEmbd, hp.NVocab}},
		Layer: func(il int) Layer {
			l := g.decoder
			if il%2 == 0 {
				l.Attn.Window = window
			}
			return l
		},
		Final: tiedFinal{rmsFinal{Embd: hp.NEmbd, Vocab: hp.NVocab, Eps: g.Attn.Eps}},
	}, k.err()
}

// A tiedFinal has no output matrix of its own.
type tiedFinal struct{ rmsFinal }

func (o tiedFinal) Parts() []Part { return o.rmsFinal.Parts()[:1] }
