package arch

import (
	"slices"

	"github.com/ggtune/ggtune/engine/graph"
)

// sizes are those that `inspect` shows of a decoder.
func sizes(ff int, a graph.AttentionAttr) []Size {
	return []Size{{"n_ff", ff}, {"n_head", a.Heads}, {"n_head_kv", a.KVHeads}}
}

// attention is the first half of a layer with RMSNorm and rotary positions, as a change of what passes by it.
type attention struct {
	Embd int
	graph.AttentionAttr
	Eps         float64 // of the norms
	Rope        graph.Rotary
	RopeFactors bool // a model may have factors of the frequencies
	HeadNorm    bool // each head of q and k is normalised before it is rotated
	PostNorm    bool // what comes of it is normalised before it is added
}

func (a attention) parts() []Part {
	embd, q, kv, head := int64(a.Embd), int64(a.Heads*a.HeadDim), int64(a.KVHeads*a.HeadDim), int64(a.HeadDim)
	paired := func(heads int) int {
		if a.Rope.Neox { // the halves of a head are rotated, in both
			return 0
		}
		return heads
	}
	norm := func(role Role, n int64) Part {
		return Part{Role: role, Suffix: ".weight", Shape: []int64{n}}
	}
	parts := []Part{
		norm(AttnNorm, embd),
		{Role: AttnQ, Suffix: ".weight", Shape: []int64{embd, q}, Linear: true, PairedHeads: paired(a.Heads)},
		{Role: AttnK, Suffix: ".weight", Shape: []int64{embd, kv}, Linear: true, PairedHeads: paired(a.KVHeads)},
		{Role: AttnV, Suffix: ".weight", Shape: []int64{embd, kv}, Linear: true},
	}
	if a.HeadNorm {
		parts = append(parts, norm(AttnQNorm, head), norm(AttnKNorm, head))
	}
	parts = append(parts, Part{Role: AttnOutput, Suffix: ".weight", Shape: []int64{q, embd}, Linear: true})
	if a.PostNorm {
		parts = append(parts, norm(AttnPostNorm, embd))
	}
	if a.RopeFactors {
		parts = append(parts, Part{Role: RopeFreqs, Suffix: ".weight", Shape: []int64{int64(a.Rope.Dim / 2)},
			Optional: true, Shared: true})
	}
	return parts
}

func (a attention) build(b *Builder, x graph.ID) graph.ID {
	qkv := b.Linears(b.RMSNorm(AttnNorm, x, a.Eps), AttnQ, AttnK, AttnV)
	q, k := a.place(b, AttnQNorm, qkv[0], a.Heads), a.place(b, AttnKNorm, qkv[1], a.KVHeads)
	o := b.Attention(q, k, qkv[2], a.AttentionAttr)
	if a.PostNorm {
		return b.G.Add(b.RMSNorm(AttnPostNorm, b.Linear(AttnOutput, o, graph.None), a.Eps), x)
	}
	return b.Linear(AttnOutput, o, x)
}

// place normalises heads if the layer does, and rotates them.
func (a attention) place(b *Builder, norm Role, x graph.ID, heads int) graph.ID {
	if a.HeadNorm {
		x = b.RMSNorm(norm, x, a.Eps)
	}
	factors := graph.None
	if a.RopeFactors {
		factors = b.Weight(RopeFreqs, ".weight")
	}
	return b.G.Rope(x, b.Indices(InputPos, b.T), factors, heads, a.HeadDim, a.Rope)
}

// gated is the second half of a layer: RMSNorm, a gated feed-forward network.
type gated struct {
	Embd, FF int
	Eps      float64
	GELU     bool // the gate's activation, in its tanh form; else SiLU
	PostNorm bool // what comes of it is normalised before it is added
}

func (f gated) parts() []Part {
	embd, ff := int64(f.Embd), int64(f.FF)
	parts := []Part{
		{Role: FFNNorm, Suffix: ".weight", Shape: []int64{embd}},
		{Role: FFNGate, Suffix: ".weight", Shape: []int64{embd, ff}, Linear: true},
		{Role: FFNUp, Suffix: ".weight", Shape: []int64{embd, ff}, Linear: true},
		{Role: FFNDown, Suffix: ".weight", Shape: []int64{ff, embd}, Linear: true},
	}
	if f.PostNorm {
		parts = append(parts, Part{Role: FFNPostNorm, Suffix: ".weight", Shape: []int64{embd}})
	}
	return parts
}

func (f gated) build(b *Builder, x graph.ID) graph.ID {
	in, act := b.Linears(b.RMSNorm(FFNNorm, x, f.Eps), FFNGate, FFNUp), b.G.SwiGLU
	if f.GELU {
		act = b.G.GEGLU
	}
	h := act(in[0], in[1])
	if f.PostNorm {
		return b.G.Add(b.RMSNorm(FFNPostNorm, b.Linear(FFNDown, h, graph.None), f.Eps), x)
	}
	return b.Linear(FFNDown, h, x)
}

// biases lists an optional bias for each linear part, or for those of the roles given.
func biases(parts []Part, roles ...Role) []Part {
	var out []Part
	for _, p := range parts {
		if p.Linear && (len(roles) == 0 || slices.Contains(roles, p.Role)) {
			out = append(out, Part{Role: p.Role, Suffix: ".bias", Shape: p.Shape[1:], Optional: true,
				PairedHeads: p.PairedHeads})
		}
	}
	return out
}

// embedding gathers the tokens' rows of token_embd.
type embedding struct{ Embd, Vocab int }

func (e embedding) Parts() []Part {
	return []Part{{Role: TokenEmbd, Suffix: ".weight", Shape: []int64{int64(e.Embd), int64(e.Vocab)}, Linear: true}}
}

func (e embedding) Build(b *Builder, _ graph.ID) graph.ID { return b.Embedding() }

// rmsFinal normalises the rows that the output head multiplies.
type rmsFinal struct {
	Embd, Vocab int
	Eps         float64
}

func (o rmsFinal) Parts() []Part {
	return []Part{{Role: OutputNorm, Suffix: ".weight", Shape: []int64{int64(o.Embd)}}, head(o.Embd, o.Vocab)}
}

func (o rmsFinal) Build(b *Builder, x graph.ID) graph.ID { return b.RMSNorm(OutputNorm, x, o.Eps) }

// head is the output head's matrix, which a model with tied embeddings lacks.
func head(embd, vocab int) Part {
	return Part{Role: Output, Suffix: ".weight", Shape: []int64{int64(embd), int64(vocab)}, Optional: true,
		Linear: true}
}
