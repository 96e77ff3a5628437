package arch

import "github.com/ggtune/ggtune/engine/graph"

// A half of a layer is a change of what passes by it. It is comparable; the norms around it are the layer's.
type half interface {
	parts() []Part
	// build computes it from h [n_embd, T] and adds it to acc, or to nothing where acc is None.
	build(b *Builder, h, acc graph.ID) graph.ID
}

// addDropped adds what a half makes of h, through the model's dropout, to x.
func addDropped(b *Builder, part half, h, x graph.ID) graph.ID {
	if b.Drop == 0 { // its last product adds it
		return part.build(b, h, x)
	}
	return b.G.Add(b.Dropped(part.build(b, h, graph.None)), x)
}

// drops says of the halves of a layer which transformers has dropout of (resid_pdrop).
type drops struct{ Attn, FFN bool }

// A norm normalises rows: RMSNorm, or LayerNorm.
type norm struct {
	Eps   float64
	Layer bool // the mean is taken off: LayerNorm
	Bias  bool // with LayerNorm: a vector is added behind it
}

func (n norm) parts(role Role, width int) []Part {
	parts := []Part{{Role: role, Suffix: ".weight", Shape: []int64{int64(width)}}}
	if n.Bias {
		parts = append(parts, Part{Role: role, Suffix: ".bias", Shape: []int64{int64(width)}})
	}
	return parts
}

func (n norm) build(b *Builder, role Role, x graph.ID) graph.ID {
	if n.Layer {
		return b.LayerNorm(role, x, n.Eps)
	}
	return b.RMSNorm(role, x, n.Eps)
}

// qkNorm says what of q and k is normalised by RMSNorm.
type qkNorm int

const (
	qkAsIs    qkNorm = iota
	qkPerHead        // each head, by weights that all heads share
	qkPerRow         // all heads of a token at once
)

// attention is the half that looks at other tokens, by rotary positions.
type attention struct {
	Embd int
	graph.AttentionAttr
	Rope        graph.Rotary
	RopeFactors bool // a model may have factors of the frequencies
	MustFactors bool // with RopeFactors: every model has them
	// LongRope: it may have two sets of them instead. llama.cpp takes the long ones where its context is longer than
	// the original one; those for short contexts are computed here.
	LongRope  bool
	NoRope    bool // positions are not looked at
	QKNorm    qkNorm
	NormLate  bool // behind the rotation, not before it
	SameOrder bool // where adjacent elements are rotated: so they are in transformers too
	Fused     bool // q, k and v come of one matrix, one behind the other
	Sinks     bool // each head has a sink
	KeyIsV    bool // values are what comes of the keys' matrix; not with Fused
	UnitV     bool // each head of values is brought to a mean square of 1
	Eps       float64
}

func (a attention) parts() []Part {
	embd, q, kv := int64(a.Embd), int64(a.Heads*a.HeadDim), int64(a.KVHeads*a.HeadDim)
	paired := func(heads int) int {
		if a.Rope.Neox || a.SameOrder { // Neox: the halves of a head are rotated, in both
			return 0
		}
		return heads // in layers without rotation too: converters know no layers
	}
	in := []Part{
		{Role: AttnQ, Suffix: ".weight", Shape: []int64{embd, q}, Linear: true, PairedHeads: paired(a.Heads)},
		{Role: AttnK, Suffix: ".weight", Shape: []int64{embd, kv}, Linear: true, PairedHeads: paired(a.KVHeads)},
		{Role: AttnV, Suffix: ".weight", Shape: []int64{embd, kv}, Linear: true},
	}
	if a.KeyIsV {
		in = in[:2]
	}
	if a.Fused {
		in = []Part{{Role: AttnQKV, Suffix: ".weight", Shape: []int64{embd, q + 2*kv}, Linear: true}}
	}
	parts := in
	switch a.QKNorm {
	case qkPerHead:
		parts = append(parts, Part{Role: AttnQNorm, Suffix: ".weight", Shape: []int64{int64(a.HeadDim)}},
			Part{Role: AttnKNorm, Suffix: ".weight", Shape: []int64{int64(a.HeadDim)}})
	case qkPerRow:
		parts = append(parts, Part{Role: AttnQNorm, Suffix: ".weight", Shape: []int64{q}},
			Part{Role: AttnKNorm, Suffix: ".weight", Shape: []int64{kv}})
	}
	parts = append(parts, Part{Role: AttnOutput, Suffix: ".weight", Shape: []int64{q, embd}, Linear: true})
	if a.Sinks {
		parts = append(parts, Part{Role: AttnSinks, Suffix: ".weight", Shape: []int64{int64(a.Heads)}})
	}
	for _, role := range a.factors() {
		parts = append(parts, Part{Role: role, Suffix: ".weight", Shape: []int64{int64(a.Rope.Dim / 2)},
			Optional: !a.MustFactors, Shared: true})
	}
	return parts
}

// factors are the roles of factors of the frequencies that a model may have; the first are computed with.
func (a attention) factors() []Role {
	switch {
	case a.NoRope:
		return nil
	case a.LongRope:
		return []Role{RopeShort, RopeLong}
	case a.RopeFactors:
		return []Role{RopeFreqs}
	}
	return nil
}

func (a attention) build(b *Builder, h, acc graph.ID) graph.ID {
	var q, k, v graph.ID
	if qw, kvw := int64(a.Heads*a.HeadDim), int64(a.KVHeads*a.HeadDim); a.Fused {
		qkv := b.Linear(AttnQKV, h, graph.None)
		q, k, v = b.G.Slice(qkv, 0, qw), b.G.Slice(qkv, qw, kvw), b.G.Slice(qkv, qw+kvw, kvw)
	} else {
		roles := []Role{AttnQ, AttnK, AttnV}
		if a.KeyIsV {
			roles = roles[:2]
		}
		qkv := b.Linears(h, roles...)
		q, k, v = qkv[0], qkv[1], qkv[len(qkv)-1]
	}
	if a.UnitV {
		v = b.G.Unit(v, int64(a.HeadDim), a.Eps)
	}
	q, k = a.place(b, AttnQNorm, q, a.Heads, a.Rope), a.place(b, AttnKNorm, k, a.KVHeads, a.keyRope())
	return b.Linear(AttnOutput, b.Attention(q, k, v, a.AttentionAttr), acc)
}

// keyRope is how keys are rotated: scores have one temperature, which the queries carry.
func (a attention) keyRope() graph.Rotary {
	r := a.Rope
	r.Temp, r.TempLen = 0, 0
	return r
}

// place normalises and rotates q or k, as the layer does.
func (a attention) place(b *Builder, norm Role, x graph.ID, heads int, r graph.Rotary) graph.ID {
	if a.QKNorm != qkAsIs && !a.NormLate {
		x = b.RMSNorm(norm, x, a.Eps)
	}
	if !a.NoRope {
		factors := graph.None
		if roles := a.factors(); len(roles) > 0 {
			factors = b.Weight(roles[0], ".weight")
		}
		x = b.G.Rope(x, b.Indices(InputPos, b.T), factors, heads, a.HeadDim, r)
	}
	if a.QKNorm != qkAsIs && a.NormLate {
		x = b.RMSNorm(norm, x, a.Eps)
	}
	return x
}

// shortConv is the half that looks at the last few tokens: one matrix makes three rows of each; the first times the
// third is convolved, and what comes of that is multiplied with the second.
type shortConv struct{ Embd, Taps int }

func (c shortConv) parts() []Part {
	embd := int64(c.Embd)
	return []Part{
		{Role: ConvIn, Suffix: ".weight", Shape: []int64{embd, 3 * embd}, Linear: true},
		{Role: ConvTaps, Suffix: ".weight", Shape: []int64{int64(c.Taps), embd}, Taps: true},
		{Role: ConvOut, Suffix: ".weight", Shape: []int64{embd, embd}, Linear: true},
	}
}

func (c shortConv) build(b *Builder, h, acc graph.ID) graph.ID {
	embd := int64(c.Embd)
	in := b.Linear(ConvIn, h, graph.None)
	first, second, third := b.G.Slice(in, 0, embd), b.G.Slice(in, embd, embd), b.G.Slice(in, 2*embd, embd)
	y := b.Conv(ConvTaps, b.G.Mul(first, third))
	return b.Linear(ConvOut, b.G.Mul(second, y), acc)
}

// gated is the half that changes each token by itself, through a gate.
type gated struct {
	Embd, FF int
	GELU     bool // the gate's activation, in its tanh form; else SiLU
	Fused    bool // gate and up are one matrix, the gate's rows first; not with GELU
}

func (f gated) parts() []Part {
	embd, ff := int64(f.Embd), int64(f.FF)
	if f.Fused {
		return []Part{
			{Role: FFNUp, Suffix: ".weight", Shape: []int64{embd, 2 * ff}, Linear: true},
			{Role: FFNDown, Suffix: ".weight", Shape: []int64{ff, embd}, Linear: true},
		}
	}
	return []Part{
		{Role: FFNGate, Suffix: ".weight", Shape: []int64{embd, ff}, Linear: true},
		{Role: FFNUp, Suffix: ".weight", Shape: []int64{embd, ff}, Linear: true},
		{Role: FFNDown, Suffix: ".weight", Shape: []int64{ff, embd}, Linear: true},
	}
}

func (f gated) build(b *Builder, h, acc graph.ID) graph.ID {
	if f.Fused {
		return b.Linear(FFNDown, b.G.SwiGLUFused(b.Linear(FFNUp, h, graph.None)), acc)
	}
	in, act := b.Linears(h, FFNGate, FFNUp), b.G.SwiGLU
	if f.GELU {
		act = b.G.GEGLU
	}
	return b.Linear(FFNDown, act(in[0], in[1]), acc)
}

// experts is the half in which each token is changed by a few of many gated networks, weighed by what chose them.
type experts struct {
	Embd, FF int
	N, Used  int // networks, and how many of them a token has
	Gating   graph.GatingAttr
	Shared   int  // the inner elements of a network that every token has beside; 0: there is none
	OAI      bool // the gate's activation is gpt-oss'; else SiLU
}

func (f experts) parts() []Part {
	embd, ff, n, used := int64(f.Embd), int64(f.FF), int64(f.N), int64(f.Used)
	parts := []Part{
		{Role: FFNGateInp, Suffix: ".weight", Shape: []int64{embd, n}, Linear: true, Routed: true},
		{Role: FFNGateExps, Suffix: ".weight", Shape: []int64{embd, ff, n}, Linear: true, Routed: true, Used: used},
		{Role: FFNUpExps, Suffix: ".weight", Shape: []int64{embd, ff, n}, Linear: true, Routed: true, Used: used},
		{Role: FFNDownExps, Suffix: ".weight", Shape: []int64{ff, embd, n}, Linear: true, Routed: true, Used: used},
	}
	if shared := int64(f.Shared); shared > 0 {
		parts = append(parts,
			Part{Role: FFNGateShexp, Suffix: ".weight", Shape: []int64{embd, shared}, Linear: true},
			Part{Role: FFNUpShexp, Suffix: ".weight", Shape: []int64{embd, shared}, Linear: true},
			Part{Role: FFNDownShexp, Suffix: ".weight", Shape: []int64{shared, embd}, Linear: true})
	}
	return parts
}

func (f experts) build(b *Builder, h, acc graph.ID) graph.ID {
	logits := b.LinearExact(FFNGateInp, h)
	chosen := b.Choose(logits, int64(f.Used))
	of, weights := b.Group(chosen, int64(f.N)), b.G.Gating(logits, chosen, f.Gating)
	x := b.G.Gather(h, of)
	gate, up := b.Experts(FFNGateExps, x, of), b.Experts(FFNUpExps, x, of)
	if f.OAI {
		x = b.G.SwiGLUOAI(gate, up, graph.SwiGLUOAIAttr{Alpha: 1.702, Limit: 7})
	} else {
		x = b.G.SwiGLU(gate, up)
	}
	// What weighs the inner elements weighs the outputs: the last product is linear, and wider. A bias behind it is not
	// weighed so.
	if bias := b.Weight(FFNDownExps, ".bias"); bias != graph.None {
		acc = b.G.WeighedBias(bias, weights, chosen, acc)
	}
	y := b.G.Combine(b.WeighedExperts(FFNDownExps, x, weights, of), of, acc)
	if f.Shared > 0 {
		in := b.Linears(h, FFNGateShexp, FFNUpShexp)
		y = b.Linear(FFNDownShexp, b.G.SwiGLU(in[0], in[1]), y)
	}
	return y
}

// ungated changes each token by itself, through GELU in its tanh form.
type ungated struct{ Embd, FF int }

func (f ungated) parts() []Part {
	embd, ff := int64(f.Embd), int64(f.FF)
	return []Part{
		{Role: FFNUp, Suffix: ".weight", Shape: []int64{embd, ff}, Linear: true},
		{Role: FFNDown, Suffix: ".weight", Shape: []int64{ff, embd}, Linear: true},
	}
}

func (f ungated) build(b *Builder, h, acc graph.ID) graph.ID {
	return b.Linear(FFNDown, b.G.GELU(b.Linear(FFNUp, h, graph.None)), acc)
}

// biases say which matrices of a layer have a vector that is added.
type biases struct {
	QKV, Output, FFN bool // those of attention's inputs, of its output, of the feed-forward network
	Must             bool // all of them have it; else a model may
}

// parts lists those beside the given ones.
func (o biases) parts(parts []Part) []Part {
	var out []Part
	for _, p := range parts {
		has := o.FFN
		switch p.Role {
		case AttnQ, AttnK, AttnV, AttnQKV:
			has = o.QKV
		case AttnOutput:
			has = o.Output
		}
		if p.Linear && has {
			out = append(out, Part{Role: p.Role, Suffix: ".bias", Shape: p.Shape[1:], Optional: !o.Must,
				PairedHeads: p.PairedHeads})
		}
	}
	return out
}

// embedding gathers the tokens' rows of token_embd.
type embedding struct {
	Embd, Vocab int
	Scale       float64 // what they are multiplied by; 0: nothing
	Drops       bool    // transformers has dropout of them (embd_pdrop)
}

func (e embedding) Parts() []Part {
	return []Part{{Role: TokenEmbd, Suffix: ".weight", Shape: []int64{int64(e.Embd), int64(e.Vocab)}, Linear: true}}
}

func (e embedding) Build(b *Builder, _ graph.ID) graph.ID {
	x := times(b, b.Embedding(), e.Scale)
	if e.Drops {
		return b.Dropped(x)
	}
	return x
}

// times multiplies by a factor, of which 0 stands for none.
func times(b *Builder, x graph.ID, factor float64) graph.ID {
	if factor == 0 || factor == 1 {
		return x
	}
	return b.G.Times(x, factor)
}

// final normalises the rows that the output head multiplies.
type final struct {
	Embd, Vocab int
	Norm        norm
	Role        Role // the norm's; "": OutputNorm
	Head        ownHead
}

// ownHead says whether there is an output head, and whether it is a matrix of its own or token_embd.weight.
type ownHead int

const (
	mayOwnHead  ownHead = iota // it is where the file has it
	mustOwnHead                // llama.cpp has no graph without it
	noOwnHead                  // llama.cpp has no graph with it
	noHead                     // there is none
)

func (o final) Parts() []Part {
	parts := o.Norm.parts(o.role(), o.Embd)
	if o.Head == noOwnHead || o.Head == noHead {
		return parts
	}
	return append(parts, Part{Role: Output, Suffix: ".weight", Shape: []int64{int64(o.Embd), int64(o.Vocab)},
		Optional: o.Head == mayOwnHead, Linear: true})
}

func (o final) Build(b *Builder, x graph.ID) graph.ID { return o.Norm.build(b, o.role(), x) }

func (o final) role() Role {
	if o.Role == "" {
		return OutputNorm
	}
	return o.Role
}
