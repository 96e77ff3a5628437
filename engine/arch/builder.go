package arch

import (
	"slices"

	"github.com/ggtune/ggtune/engine/delta"
	"github.com/ggtune/ggtune/engine/graph"
)

// A Tensor is what a Builder asks of the model about one tensor.
type Tensor struct {
	Type  int32 // ggml's number
	Shape graph.Shape
	// Own says that a set has numbers of its own for the tensor: a Param of Type, its name behind Set, with no gradient
	// if Frozen.
	Own    bool
	Row    int64 // bytes of a row, where the Param is rounded to a storage type; 0: it is f32
	Set    string
	Frozen bool
}

// A Set is what is trained beside weights and applied together: it gives the delta at a role of the stage at hand, if
// there is one.
type Set func(role Role) (delta.Use, bool)

// A Builder builds the graph of one stage: the embedding, one layer, or what follows the last. Values are named by
// role, without the layer's number, so that layers alike share one graph.
type Builder struct {
	G  *graph.Graph
	HP HParams
	T  int64 // tokens
	// Segments is the number of segments in the batch's trees.
	Segments int64
	// Tensor describes "role.weight" or "role.bias" of the stage at hand; false where the model has none.
	Tensor func(role Role, suffix string) (Tensor, bool)
	// Sets are applied in their order: each changes what those before it make of a layer.
	Sets []Set

	// Next, unless nil, has tokens attend to what is kept of their texts; see Next.
	Next *Next

	// Seen, unless nil, is told what each role's weight is multiplied with: rows of tokens or, where there are several
	// experts, of choices, those of each expert from where starts says (else None).
	Seen func(role Role, x, starts graph.ID)

	// Held says that which experts tokens have is given (InputChosen). Chosen, unless nil, is told of the choice that
	// is made where it is not.
	Held   bool
	Chosen func(chosen graph.ID)
	// Grouped, unless nil, is told how the rows of tokens are sorted by expert.
	Grouped func(of graph.Groups)

	// Drop is the rate at which the model's own numbers are dropped, where transformers' class of the architecture has
	// dropout: probabilities of attention, and what comes of the embedding and of the halves of layers. 0: none.
	Drop float64

	streams int64 // masks of dropout so far
}

// A Next says that the batch's tokens are the next ones of texts of which keys and values, and inputs of convolutions,
// are kept.
type Next struct {
	// Kept gives the type in which those of an attention are kept, and the numbers of a page.
	Kept  func(a graph.AttentionAttr) (typ int32, page int64)
	Pages int64 // there are
	Table int64 // numbers of the table that says which are whose
	// What convolutions go on behind lies in so many slots; Runs are the numbers of the table that says which are
	// whose.
	Slots, Runs int64
}

// Names of the values that a stage's graph is bound to.
const (
	InputX       = "x"           // [n_embd, T]: the stage's input
	InputTokens  = "tokens"      // i32 [1, T]
	InputPos     = "pos"         // i32 [1, T]
	InputTypes   = "types"       // i32 [1, T]: types of tokens, all the first, where those have vectors
	InputTree    = "tree"        // i32, the attention kernels' tree
	InputSources = "sources"     // i32 [1, C]: the token that predicts each counted one
	InputTargets = "targets"     // i32 [1, C]: the counted tokens
	InputNoise   = "noise"       // [n_embd, T]: what is added to the embeddings
	InputDropKey = "dropout_key" // i64 [1, 1]: what the masks of dropout depend on beside their streams
	InputActive  = "active"      // i32 [1, T]: whether what waits for an invocation acts on the token

	InputNamed        = "named"         // i32 [k, C]: tokens that may stand in the place of each counted one
	InputNamedSources = "named_sources" // i32 [1, C]: the token that predicts them
	InputValued       = "valued"        // i32 [1, C]: the tokens that are given a value

	InputPooled     = "pooled"      // i32 [1, R]: the tokens that vectors are made of, text after text
	InputPooledEnds = "pooled_ends" // i32 [1, C]: of each text, how many tokens it and those before it have

	InputChosen = "chosen" // i32 [k, T]: the experts of each token

	StateKept  = "kept"  // [page, pages], or [width, slots]: what a layer keeps of earlier tokens
	InputTable = "table" // i32 [n, 1]: AttentionNext's table
	InputRuns  = "runs"  // i32 [n, 1]: ConvNext's table
	InputDrawn = "drawn" // f64 [C, 1]: what tokens are drawn by
)

// Input gives the stage's input.
func (b *Builder) Input() graph.ID {
	return b.bound(graph.Input, InputX, graph.F32, graph.Matrix(int64(b.HP.NEmbd), b.T))
}

// Noise gives what is added to the embeddings.
func (b *Builder) Noise() graph.ID {
	return b.bound(graph.Input, InputNoise, graph.F32, graph.Matrix(int64(b.HP.NEmbd), b.T))
}

// Indices gives an i32 input of n elements.
func (b *Builder) Indices(name string, n int64) graph.ID { return b.Table(name, 1, n) }

// Table gives an i32 input of n rows.
func (b *Builder) Table(name string, width, n int64) graph.ID {
	return b.bound(graph.Input, name, graph.I32, graph.Matrix(width, n))
}

func (b *Builder) bound(kind graph.Kind, name string, typ int32, s graph.Shape) graph.ID {
	return b.G.Bound(graph.Value{Name: name, Kind: kind, Type: typ, Shape: s, Ref: graph.None})
}

// Weight gives the tensor of a role, or None where the model has none.
func (b *Builder) Weight(role Role, suffix string) graph.ID {
	t, ok := b.Tensor(role, suffix)
	if !ok {
		return graph.None
	}
	if t.Own {
		return b.G.Bound(graph.Value{Name: t.Set + string(role) + suffix, Kind: graph.Param, Type: t.Type,
			Shape: t.Shape, Row: t.Row, Ref: graph.None, Frozen: t.Frozen})
	}
	return b.bound(graph.Weight, string(role)+suffix, t.Type, t.Shape)
}

// Linear multiplies x by the role's weight and adds its bias and acc (or None), as changed by what is trained beside
// it.
func (b *Builder) Linear(role Role, x, acc graph.ID) graph.ID {
	return b.linear(len(b.Sets), role, x, acc, b.byToken(x))
}

// LinearExact is Linear in f32 in every mode.
func (b *Builder) LinearExact(role Role, x graph.ID) graph.ID {
	return b.linear(len(b.Sets), role, x, graph.None, product{multiply: b.G.LinearExact, seen: x, starts: graph.None})
}

// Experts is Linear of rows of which each has its expert's matrix.
func (b *Builder) Experts(role Role, x graph.ID, of graph.Groups) graph.ID {
	return b.linear(len(b.Sets), role, x, graph.None, b.byExpert(x, of))
}

// WeighedExperts is Experts of rows times their weights, without the biases; Seen is told the rows as they are.
func (b *Builder) WeighedExperts(role Role, x, weights graph.ID, of graph.Groups) graph.ID {
	by := b.byExpert(x, of)
	by.unbiased = true
	return b.linear(len(b.Sets), role, b.G.Weigh(x, weights, of), graph.None, by)
}

// Choose gives the k experts of each token with the largest logits, or those that are given.
func (b *Builder) Choose(logits graph.ID, k int64) graph.ID {
	if b.Held {
		return b.Table(InputChosen, k, b.T)
	}
	chosen := b.G.TopK(logits, k)
	if b.Chosen != nil {
		b.Chosen(chosen)
	}
	return chosen
}

// Group sorts the rows of tokens by the experts that are chosen, n in all.
func (b *Builder) Group(chosen graph.ID, n int64) graph.Groups {
	of := b.G.Group(chosen, n)
	if b.Grouped != nil {
		b.Grouped(of)
	}
	return of
}

// A product is how a role's weight is multiplied, and what is trained beside it.
type product struct {
	multiply delta.Multiply
	seen     graph.ID // what Seen is told
	starts   graph.ID // where each expert's rows begin, or None
	unbiased bool     // a bias that the layer has is added elsewhere
}

func (b *Builder) byToken(x graph.ID) product {
	return product{multiply: b.G.Linear, seen: x, starts: graph.None}
}

func (b *Builder) byExpert(x graph.ID, of graph.Groups) product {
	return product{multiply: func(w, x, bias, acc graph.ID, scale float64) graph.ID {
		return b.G.Experts(w, x, bias, of, acc, scale)
	}, seen: x, starts: of.Starts}
}

// linear is Linear with the first n sets.
func (b *Builder) linear(n int, role Role, x, acc graph.ID, by product) graph.ID {
	for n--; n >= 0; n-- {
		use, ok := b.Sets[n](role)
		if !ok {
			continue
		}
		d, ok := use.Delta.(delta.Linear)
		if !ok {
			return b.unfit(role, use)
		}
		s := b.site(use, role, x, acc, func(acc graph.ID) graph.ID { return b.linear(n, role, x, acc, by) })
		s.Multiply, s.Bare = by.multiply, b.bare(n, role, x)
		return d.Apply(s)
	}
	if b.Seen != nil {
		b.Seen(role, by.seen, by.starts)
	}
	bias := graph.None
	if !by.unbiased {
		bias = b.Weight(role, ".bias")
	}
	return by.multiply(b.Weight(role, ".weight"), x, bias, acc, 1)
}

// Linears is Linear for roles that share their input, whose deltas may then be joined.
func (b *Builder) Linears(x graph.ID, roles ...Role) []graph.ID {
	out := make([]graph.ID, len(roles))
	if !slices.ContainsFunc(b.Sets, func(s Set) bool { return b.joined(s, roles) != nil }) {
		for i, role := range roles {
			out[i] = b.Linear(role, x, graph.None)
		}
		return out
	}
	for i, role := range roles {
		out[i] = b.linear(0, role, x, graph.None, b.byToken(x))
	}
	for n := range b.Sets {
		b.change(n, x, roles, out)
	}
	return out
}

// bare is delta.Site's, of a set before which n stand.
func (b *Builder) bare(n int, role Role, x graph.ID) func() (w, bias graph.ID, ok bool) {
	return func() (w, bias graph.ID, ok bool) {
		if b.Seen != nil {
			b.Seen(role, x, graph.None)
		}
		alone := !slices.ContainsFunc(b.Sets[:n], func(s Set) bool { _, ok := s(role); return ok })
		return b.Weight(role, ".weight"), b.Weight(role, ".bias"), alone
	}
}

// change applies set n to the outputs of roles that share their input.
func (b *Builder) change(n int, x graph.ID, roles []Role, out []graph.ID) {
	set := b.Sets[n]
	var sites []*delta.Site
	var at []int // of each site: its role
	for i, role := range roles {
		if use, ok := set(role); ok {
			y := out[i]
			s := b.site(use, role, x, graph.None, func(graph.ID) graph.ID { return y })
			s.Bare = b.bare(n, role, x)
			sites, at = append(sites, s), append(at, i)
		}
	}
	if join := b.joined(set, roles); join != nil {
		for k, y := range join.Join(sites) {
			out[at[k]] = y
		}
		return
	}
	for k, s := range sites {
		if d, ok := s.Delta.(delta.Linear); ok {
			out[at[k]] = d.Apply(s)
		} else {
			out[at[k]] = b.unfit(roles[at[k]], s.Use)
		}
	}
}

// joined gives the first of a set's deltas at the roles if they can be joined: several of one kind, which lie one right
// behind the other. Dropout, whose mask is a role's own, keeps them apart.
func (b *Builder) joined(set Set, roles []Role) delta.Joiner {
	var first delta.Joiner
	n, end := 0, int64(0)
	for _, role := range roles {
		use, ok := set(role)
		if !ok {
			continue
		}
		j, ok := use.Delta.(delta.Joiner)
		if !ok || use.Dropout > 0 || n > 0 && (use.At != end || !first.Joins(j)) {
			return nil
		}
		if n == 0 {
			first = j
		}
		n, end = n+1, use.At+delta.Stacked(j, b.shape(role))
	}
	if n < 2 {
		return nil
	}
	return first
}

// site is the place of a delta beside a role's weight.
func (b *Builder) site(use delta.Use, role Role, x, acc graph.ID, base func(acc graph.ID) graph.ID) *delta.Site {
	return &delta.Site{Use: use, G: b.G, Name: string(role) + ".weight", Weight: b.shape(role), X: x, Acc: acc,
		Base: base, Multiply: b.G.Linear,
		Drop: func(x graph.ID) graph.ID {
			if use.Dropout == 0 {
				return x
			}
			return b.dropout(x, use.Dropout)
		},
		Gate: func(x graph.ID) graph.ID {
			if !use.Late {
				return x
			}
			return b.G.Gate(x, b.Indices(InputActive, b.T))
		}}
}

// Dropped is x with numbers dropped at the model's rate.
func (b *Builder) Dropped(x graph.ID) graph.ID {
	if b.Drop == 0 {
		return x
	}
	return b.dropout(x, b.Drop)
}

func (b *Builder) dropout(x graph.ID, rate float64) graph.ID {
	return b.G.Dropout(x, b.dropKey(), rate, b.stream())
}

// stream tells the masks of a stage apart.
func (b *Builder) stream() int64 {
	b.streams++
	return b.streams
}

func (b *Builder) dropKey() graph.ID {
	return b.bound(graph.Input, InputDropKey, graph.I64, graph.Matrix(1, 1))
}

// shape is that of a role's weight, which a delta stands beside.
func (b *Builder) shape(role Role) graph.Shape {
	t, _ := b.Tensor(role, ".weight")
	return t.Shape
}

// unfit makes the graph at fault: the delta cannot stand where it was put.
func (b *Builder) unfit(role Role, use delta.Use) graph.ID {
	b.G.Fail("%T cannot stand beside %q", use.Delta, role)
	return graph.None
}

// Embedding gathers the tokens' rows of token_embd.
func (b *Builder) Embedding() graph.ID {
	ids := b.Indices(InputTokens, b.T)
	x := b.G.Rows(b.Weight(TokenEmbd, ".weight"), ids)
	for _, set := range b.Sets {
		use, ok := set(TokenEmbd)
		if !ok {
			continue
		}
		d, ok := use.Delta.(delta.Rows)
		if !ok {
			return b.unfit(TokenEmbd, use)
		}
		y := x
		x = d.Gather(b.site(use, TokenEmbd, graph.None, graph.None, func(graph.ID) graph.ID { return y }), ids)
	}
	return x
}

// Project gives what vectors [n_embd, n], pooled of what after gives, go through: of most models nothing.
func (b *Builder) Project(after Layer, v graph.ID) graph.ID {
	if p, ok := after.(interface {
		project(b *Builder, v graph.ID) graph.ID
	}); ok {
		return p.project(b, v)
	}
	return v
}

// RMSNorm normalises x (or each head of it) with the role's weight.
func (b *Builder) RMSNorm(role Role, x graph.ID, eps float64) graph.ID {
	return b.G.RMSNorm(x, b.Weight(role, ".weight"), eps)
}

// LayerNorm normalises x with the role's weight and bias.
func (b *Builder) LayerNorm(role Role, x graph.ID, eps float64) graph.ID {
	return b.G.LayerNorm(x, b.Weight(role, ".weight"), b.Weight(role, ".bias"), eps)
}

// Attention attends under the batch's tree, or to what is kept (Builder.Next), with sinks where the layer has them.
func (b *Builder) Attention(q, k, v graph.ID, a graph.AttentionAttr) graph.ID {
	sinks := b.Weight(AttnSinks, ".weight")
	if b.Next != nil {
		return b.next(q, k, v, sinks, a)
	}
	key := graph.None
	if b.Drop > 0 {
		key, a.Drop = b.dropKey(), graph.DropoutAttr{Rate: b.Drop, Stream: b.stream()}
	}
	return b.G.Attention(q, k, v, b.Indices(InputTree, 1+3*b.Segments), sinks, key, a)
}

func (b *Builder) next(q, k, v, sinks graph.ID, a graph.AttentionAttr) graph.ID {
	typ, page := b.Next.Kept(a)
	kept := b.kept(typ, page, b.Next.Pages)
	return b.G.AttentionNext(q, k, v, kept, b.Table(InputTable, b.Next.Table, 1), sinks, a)
}

// kept gives the rows that the layer keeps of texts.
func (b *Builder) kept(typ int32, width, rows int64) graph.ID {
	if b.G.Find(graph.State, StateKept) != graph.None {
		b.G.Fail("a layer looks twice at earlier tokens, and what it keeps of them is kept for one look")
	}
	return b.bound(graph.State, StateKept, typ, graph.Matrix(width, rows))
}

// Conv convolves x with the role's taps under the batch's tree, or behind what is kept (Builder.Next).
func (b *Builder) Conv(role Role, x graph.ID) graph.ID {
	taps := b.Weight(role, ".weight")
	if b.Next == nil {
		return b.G.Conv(x, taps, b.Indices(InputTree, 1+3*b.Segments))
	}
	s := b.shape(role)
	kept := b.kept(graph.F32, (s[0]-1)*s[1], b.Next.Slots)
	return b.G.ConvNext(x, taps, kept, b.Table(InputRuns, b.Next.Runs, 1))
}

// Logits gives the whole vocabulary's logits [n_vocab, C] from h, the rows after the last norm.
func (b *Builder) Logits(h graph.ID) graph.ID {
	var logits graph.ID
	if b.HP.TiedOutput {
		logits = b.G.Linear(b.Weight(TokenEmbd, ".weight"), h, graph.None, graph.None, 1)
	} else {
		logits = b.Linear(Output, h, graph.None)
	}
	if b.HP.LogitCap > 0 {
		logits = b.G.SoftCap(logits, b.HP.LogitCap)
	}
	return times(b, logits, b.HP.LogitScale)
}

// Head gives the log-probabilities of targets from h, the rows after the last norm, and the entropy if a asks for it.
func (b *Builder) Head(h, targets graph.ID, a graph.HeadAttr) (logp, entropy graph.ID) {
	logp, entropy = graph.None, graph.None
	a.Cap, a.Scale = b.HP.LogitCap, b.scale(a.Scale)
	b.head(h, func(w, h2, w2 graph.ID) { logp, entropy = b.G.Head(h, w, targets, h2, w2, a) })
	return logp, entropy
}

// HeadTop gives the likeliest tokens and their log-probabilities from h, the rows after the last norm.
func (b *Builder) HeadTop(h graph.ID, a graph.HeadTopAttr) (top graph.ID) {
	top, a.Cap, a.Scale = graph.None, b.HP.LogitCap, b.scale(a.Scale)
	b.head(h, func(w, h2, w2 graph.ID) { top = b.G.HeadTop(h, w, h2, w2, a) })
	return top
}

// HeadDraw gives tokens drawn with their log-probabilities and entropies from h, the rows after the last norm.
func (b *Builder) HeadDraw(h graph.ID, n int64, a graph.HeadDrawAttr) (drawn graph.ID) {
	drawn, a.Cap, a.Scale = graph.None, b.HP.LogitCap, b.scale(a.Scale)
	u := b.bound(graph.Input, InputDrawn, graph.F64, graph.Matrix(n, 1))
	b.head(h, func(w, h2, w2 graph.ID) { drawn = b.G.HeadDraw(h, w, h2, w2, u, a) })
	return drawn
}

// scale is a head's scale with what the model itself multiplies its logits by.
func (b *Builder) scale(s float64) float64 {
	if b.HP.LogitScale == 0 {
		return s
	}
	return s * b.HP.LogitScale
}

// head calls f with the output head and, where something is trained beside it, the second product.
func (b *Builder) head(h graph.ID, f func(w, h2, w2 graph.ID)) {
	role, sets := Output, b.Sets
	if b.HP.TiedOutput { // nothing can stand beside it
		role, sets = TokenEmbd, nil
	}
	w, h2, w2 := b.Weight(role, ".weight"), graph.None, graph.None
	for _, set := range sets {
		use, ok := set(Output)
		if !ok {
			continue
		}
		d, ok := use.Delta.(delta.Head)
		if !ok || w2 != graph.None { // the head adds one product
			b.unfit(Output, use)
			return
		}
		h2, w2 = d.Product(b.site(use, Output, h, graph.None, nil))
	}
	f(w, h2, w2)
}
