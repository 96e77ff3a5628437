package arch

import "github.com/ggtune/ggtune/engine/graph"

// A decoder is a layer of llama's family: attention or what stands in its place, then a feed-forward network, each with
// norms around it.
type decoder struct {
	Norms    norms
	Attn     attention
	Mixer    half // what stands in attention's place; nil: nothing does
	FFN      half
	Biases   biases
	Residual float64 // what comes of each half is multiplied by it before it is added; 0: by nothing
	Sums     bool    // llama.cpp sets how the last product of each half adds up, which it can of a bare one alone
	Parallel bool    // both halves read the same rows, those of BeforeAttn; BeforeFFN and those behind are none
	Drops    drops   // with nothing behind the half: no norm, no Residual
	Scaled   bool    // what the layer gives may be multiplied by a number of its own; not with Parallel
}

// norms are those around the halves, by their names in the file; "" where there is none.
type norms struct {
	norm
	BeforeAttn, AfterAttn, BeforeFFN, AfterFFN Role
}

func (l decoder) Parts() []Part {
	var parts []Part
	around := func(before Role, h half, after Role) {
		if before != "" {
			parts = append(parts, l.Norms.parts(before, l.Attn.Embd)...)
		}
		parts = append(parts, h.parts()...)
		if after != "" {
			parts = append(parts, l.Norms.parts(after, l.Attn.Embd)...)
		}
	}
	around(l.Norms.BeforeAttn, l.mixer(), l.Norms.AfterAttn)
	around(l.Norms.BeforeFFN, l.FFN, l.Norms.AfterFFN)
	for i := range parts {
		if p := &parts[i]; l.Sums && (p.Role == AttnOutput || p.Role == FFNDown) {
			p.Alone = "its graph asserts that nothing is added to this product (ggml_mul_mat_set_prec)"
		}
	}
	if l.Scaled {
		parts = append(parts, Part{Role: LayerScale, Suffix: ".weight", Shape: []int64{1}, Optional: true, Fixed: true})
	}
	return append(parts, l.Biases.parts(parts)...)
}

func (l decoder) Build(b *Builder, x graph.ID) graph.ID {
	if l.Parallel {
		h := l.normed(b, l.Norms.BeforeAttn, x)
		return l.add(b, l.FFN, "", l.Drops.FFN, h, l.add(b, l.mixer(), "", l.Drops.Attn, h, x))
	}
	x = l.add(b, l.mixer(), l.Norms.AfterAttn, l.Drops.Attn, l.normed(b, l.Norms.BeforeAttn, x), x)
	x = l.add(b, l.FFN, l.Norms.AfterFFN, l.Drops.FFN, l.normed(b, l.Norms.BeforeFFN, x), x)
	if l.Scaled {
		if s := b.Weight(LayerScale, ".weight"); s != graph.None {
			return b.G.TimesNumber(x, s)
		}
	}
	return x
}

// mixer is the half that looks at other tokens.
func (l decoder) mixer() half {
	if l.Mixer == nil {
		return l.Attn
	}
	return l.Mixer
}

// normed is x normalised, or as it is where there is no norm.
func (l decoder) normed(b *Builder, role Role, x graph.ID) graph.ID {
	if role == "" {
		return x
	}
	return l.Norms.build(b, role, x)
}

// add adds what a half makes of h to x.
func (l decoder) add(b *Builder, part half, after Role, drops bool, h, x graph.ID) graph.ID {
	if drops {
		return addDropped(b, part, h, x)
	}
	if after == "" && (l.Residual == 0 || l.Residual == 1) { // its last product adds it
		return part.build(b, h, x)
	}
	return b.G.Add(times(b, l.normed(b, after, part.build(b, h, graph.None)), l.Residual), x)
}

// traits are what a file must be read by, of a model of llama's family.
type traits struct {
	Neox      bool // the halves of a head are rotated, not adjacent elements
	LayerNorm bool // not RMSNorm
	KVByLayer bool // layers may differ in the number of key heads, which Each has to say
	NormBias  bool // with LayerNorm: norms have one
	// PartRope: a part of each head may be rotated, the rest left. Elsewhere llama.cpp asserts that all of it is.
	PartRope bool
	// Experts says that layers have them, which change reads.
	Experts bool
	// Stretch lists what llama.cpp knows of stretched positions for it, beside what it knows for all: keys of YaRN,
	// longRope.
	Stretch []string
}

// A family is a model of llama's family as its file says, for an architecture to change.
type family struct {
	*keys
	HParams
	FF    int
	Layer decoder // the usual layer: as llama's, without biases
	Embed embedding
	Final final
	Each  func(il int, l *decoder) // how layer il differs from Layer; nil: no layer does
	More  []Size                   // beside those of every decoder
	// OwnOrder is Net's.
	OwnOrder string
}

// readDecoder reads a model of llama's family. change, unless nil, makes of llama what the architecture is.
func readDecoder(f Metadata, t traits, change func(m *family)) (*Net, error) {
	k := keysOf(f)
	hp, ff := k.hparams(), k.size("feed_forward_length", 0)
	if !t.Experts {
		k.dense()
	}
	n := norm{Layer: t.LayerNorm, Bias: t.NormBias}
	if t.LayerNorm {
		n.Eps = k.float("attention.layer_norm_epsilon", 0)
	} else {
		n.Eps = k.float("attention.layer_norm_rms_epsilon", 0)
	}
	a := k.attention(hp.NEmbd, t.KVByLayer)
	rope := k.rope(hp, a.HeadDim, t.Neox, t.Stretch...)
	if !t.PartRope {
		k.whole(rope, a.HeadDim)
	}
	m := &family{keys: k, HParams: hp, FF: ff,
		Layer: decoder{
			Norms: norms{norm: n, BeforeAttn: AttnNorm, BeforeFFN: FFNNorm},
			Attn:  attention{Embd: hp.NEmbd, AttentionAttr: a, Eps: n.Eps, Rope: rope, RopeFactors: true},
			FFN:   gated{Embd: hp.NEmbd, FF: ff},
		},
		Embed: embedding{Embd: hp.NEmbd, Vocab: hp.NVocab},
		Final: final{Embd: hp.NEmbd, Vocab: hp.NVocab, Norm: n},
	}
	if change != nil {
		change(m)
	}
	switch m.Final.Head {
	case noOwnHead:
		m.TiedOutput = true
	case mustOwnHead, noHead:
		m.TiedOutput = false
	}
	if err := k.err(); err != nil {
		return nil, err
	}
	layer, each := m.Layer, m.Each
	of := func(il int) decoder {
		l := layer
		if each != nil {
			each(il, &l)
		}
		return l
	}
	return &Net{
		HParams: m.HParams, Sizes: append(sizes(m.FF, of(0).Attn.AttentionAttr), m.More...),
		Embed: m.Embed, Final: m.Final, OwnOrder: m.OwnOrder,
		Layer: func(il int) Layer { return of(il) },
	}, nil
}

// square refuses heads that do not make a row of the embedding, where llama.cpp makes room for none else.
func (k *keys) square(a attention) {
	if n := a.Heads * a.HeadDim; n != a.Embd {
		k.fail("%d heads of %d elements make %d, expected n_embd %d: llama.cpp runs a %s only so", a.Heads, a.HeadDim,
			n, a.Embd, k.arch)
	}
}

// experts has layers choose among experts of ff inner elements, by a softmax over all of them; norm says that a token's
// weights are brought to a sum of 1.
func (m *family) experts(ff int, norm bool) {
	n, used := m.keys.experts()
	m.Layer.FFN = experts{Embd: m.NEmbd, FF: ff, N: n, Used: used, Gating: graph.GatingAttr{Norm: norm, Scale: 1}}
	m.More = []Size{{"n_expert", n}, {"n_expert_used", used}}
	m.FF = ff
}

// shared has layers a network of ff inner elements beside the experts, which every token has; 0: none.
func (m *family) shared(ff int) {
	e := m.Layer.FFN.(experts)
	e.Shared = ff
	m.Layer.FFN = e
	if ff > 0 {
		m.More = append(m.More, Size{"n_ff_shared", ff})
	}
}

// windowsOrNoRope has all but the last of each period of layers see a window, and that one see everything without
// looking at positions.
func (m *family) windowsOrNoRope(window, period int) {
	m.Each = func(il int, l *decoder) {
		if il%period < period-1 {
			l.Attn.Window = window
		} else {
			l.Attn.NoRope = true
		}
	}
}

// sizes are those that `inspect` shows of a decoder.
func sizes(ff int, a graph.AttentionAttr) []Size {
	return []Size{{"n_ff", ff}, {"n_head", a.Heads}, {"n_head_kv", a.KVHeads}}
}
