package arch

import (
	"math"

	"github.com/ggtune/ggtune/engine/graph"
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
	k := keysOf(f)
	g := k.gemma(62)
	g.Attn.HeadNorm = true
	hp := g.hp
	hp.LogitCap = k.cap("final_logit_softcapping", 0)
	window := k.window("attention.sliding_window", 0)
	if window > 0 && hp.NLayer < gemma3Period { // llama.cpp ends at an assertion, having nowhere to keep keys
		k.fail("%d layers with a window (%q) leave none that sees everything, which llama.cpp does not run; "+
			"expected %d or more", hp.NLayer, k.arch+".attention.sliding_window", gemma3Period)
	}
	return &Net{
		HParams: hp, Sizes: sizes(g.FFN.FF, g.Attn.AttentionAttr),
		Embed: gemmaEmbedding{embedding{hp.NEmbd, hp.NVocab}},
		Layer: func(il int) Layer {
			l := g.decoder
			if window > 0 && il%gemma3Period < gemma3Period-1 {
				l.Attn.Window, l.Attn.Rope.FreqBase, l.Attn.Rope.FreqScale = window, gemma3Local, 1
			}
			return l
		},
		Final: rmsFinal{Embd: hp.NEmbd, Vocab: hp.NVocab, Eps: g.Attn.Eps},
	}, k.err()
}

// A gemma is what all layers of a Gemma have in common.
type gemma struct {
	decoder
	hp HParams
}

// gemma reads it. The largest model of a generation, known by its layers, divides scores by the root of n_embd/n_head,
// the others by that of the size of a head (llama.cpp's src/llama-model.cpp, load_hparams).
func (k *keys) gemma(largest int) gemma {
	hp, ff := k.hparams(), k.size("feed_forward_length", 0)
	a, eps := k.attention(hp.NEmbd), k.float("attention.layer_norm_rms_epsilon", 0)
	if hp.NLayer == largest {
		a.Scale = 1 / math.Sqrt(float64(hp.NEmbd/a.Heads))
	}
	return gemma{decoder{
		Attn: attention{Embd: hp.NEmbd, AttentionAttr: a, Eps: eps, Rope: k.rope(hp, a.HeadDim, true), PostNorm: true},
		FFN:  gated{Embd: hp.NEmbd, FF: ff, Eps: eps, GELU: true, PostNorm: true},
	}, hp}
}

// A gemmaEmbedding multiplies what it gathers by √n_embd.
type gemmaEmbedding struct{ embedding }

func (e gemmaEmbedding) Build(b *Builder, _ graph.ID) graph.ID {
	return b.G.Times(b.Embedding(), math.Sqrt(float64(e.Embd)))
}

// gemmaModules are those of Gemma 2, with more.
func gemmaModules(more map[Role]string) map[Role]string {
	m := decoderModules()
	delete(m, AttnQNorm)
	delete(m, AttnKNorm)
	m[AttnPostNorm], m[FFNNorm], m[FFNPostNorm] = "post_attention_layernorm", "pre_feedforward_layernorm",
		"post_feedforward_layernorm"
	for role, name := range more {
		m[role] = name
	}
	return m
}
