package arch

import "github.com/ggtune/ggtune/engine/graph"

// LFM2 is Liquid's LFM2 and LFM2.5, dense (llama.cpp's src/models/lfm2.cpp): most layers convolve the last few tokens,
// and those among them that attend, which have key heads, normalise each head before it is rotated.
var LFM2 = register(Arch{
	Name: "lfm2",
	Example: Example{Tokenizer: "lfm2", Tied: true,
		Keys: map[string]any{kvHeads: []int{0, 2}, lfm2Taps: 3}},
	Read:  readLFM2,
	Newer: true,
	Hub:   Hub{ModelType: "lfm2", Class: "Lfm2ForCausalLM", Layers: "model.layers", Tied: true, Modules: lfm2Modules()},
})

const lfm2Taps = "shortconv.l_cache"

func readLFM2(f Metadata) (*Net, error) {
	return readDecoder(f, traits{Neox: true, PartRope: true, KVByLayer: true}, func(m *family) {
		a := &m.Layer.Attn
		m.square(*a)
		a.QKNorm, a.RopeFactors, a.Window = qkPerHead, false, m.count("attention.sliding_window")
		m.Final.Role = TokenEmbdNorm
		if !m.flag("attention.causal", true) {
			m.fail("metadata key %q is false, expected true: a convolution looks back alone",
				m.arch+".attention.causal")
		}
		conv := shortConv{Embd: m.NEmbd, Taps: m.taps(lfm2Taps)}
		kv, attend := m.layers(kvHeads, m.NLayer, 0, a.Heads), 0
		for il := range m.NLayer {
			if n := kv(il); n > 0 {
				m.shareable(a.Heads, n)
				a.KVHeads, attend = n, attend+1
			}
		}
		if attend == 0 {
			m.fail("metadata key %q is 0 for each of %d layers, expected key heads in one or more", m.arch+"."+kvHeads,
				m.NLayer)
		}
		m.Each = func(il int, l *decoder) {
			if n := kv(il); n > 0 {
				l.Attn.KVHeads = n
			} else {
				l.Mixer = conv
			}
		}
	})
}

// taps reads how many tokens a convolution looks at.
func (k *keys) taps(key string) int {
	name := k.arch + "." + key
	n, err := k.f.Int(name)
	switch {
	case err != nil:
		k.faults = append(k.faults, err)
	case n < 2 || n > graph.MostTaps:
		k.fail("metadata key %q is %d, expected 2 to %d", name, n, graph.MostTaps)
	default:
		return int(n)
	}
	return 2
}

func lfm2Modules() map[Role]string {
	m := decoderModules()
	delete(m, OutputNorm)
	m[TokenEmbdNorm], m[AttnNorm], m[FFNNorm] = "model.embedding_norm", "operator_norm", "ffn_norm"
	m[AttnQNorm], m[AttnKNorm], m[AttnOutput] = "self_attn.q_layernorm", "self_attn.k_layernorm", "self_attn.out_proj"
	m[FFNGate], m[FFNUp], m[FFNDown] = "feed_forward.w1", "feed_forward.w3", "feed_forward.w2"
	m[ConvIn], m[ConvTaps], m[ConvOut] = "conv.in_proj", "conv.conv", "conv.out_proj"
	return m
}
