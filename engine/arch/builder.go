package arch

import "github.com/ggtune/ggtune/engine/graph"

// A Tensor is what a Builder asks of the model about one tensor.
type Tensor struct {
	Type    int32 // ggml's number
	Shape   graph.Shape
	Trained bool // a Param: its own numbers change
}

// A Pair is a LoRA pair beside a linear weight: y += Scale·B(A x).
type Pair struct {
	Rank    int64
	Scale   float64
	Dropout float64 // probability that an element of x is zeroed on the way to A; 0 where dropout is off
	// At is where A begins among the As of the stage, in floats. Those that lie one after the other are one matrix.
	At int64
}

// A Builder builds the graph of one stage: the embedding, one layer, or what follows the last. Values are named by role,
// without the layer's number, so that layers alike share one graph.
type Builder struct {
	G  *graph.Graph
	HP HParams
	T  int64 // tokens
	// Segments is the number of segments in the batch's trees.
	Segments int64
	// Tensor describes "role.weight" or "role.bias" of the stage at hand; false where the model has none.
	Tensor func(role Role, suffix string) (Tensor, bool)
	// Pair gives the LoRA pair of a role of the stage at hand, if there is one.
	Pair func(role Role) (Pair, bool)

	streams int64
}

// Names of the values that a stage's graph is bound to.
const (
	InputX       = "x"       // [n_embd, T]: the stage's input
	InputTokens  = "tokens"  // i32 [1, T]
	InputPos     = "pos"     // i32 [1, T]
	InputTree    = "tree"    // i32, the attention kernels' tree
	InputSources = "sources" // i32 [1, C]: the token that predicts each counted one
	InputTargets = "targets" // i32 [1, C]: the counted tokens
	LoraA        = ".lora_a"
	LoraB        = ".lora_b"
)

// Input gives the stage's input.
func (b *Builder) Input() graph.ID {
	return b.bound(graph.Input, InputX, graph.F32, graph.Matrix(int64(b.HP.NEmbd), b.T))
}

// Indices gives an i32 input of n elements.
func (b *Builder) Indices(name string, n int64) graph.ID {
	return b.bound(graph.Input, name, graph.I32, graph.Matrix(1, n))
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
	if t.Trained {
		return b.bound(graph.Param, string(role)+suffix, graph.F32, t.Shape)
	}
	return b.bound(graph.Weight, string(role)+suffix, t.Type, t.Shape)
}

// Linear multiplies x by the role's weight, adds its bias and its LoRA pair where they exist, and adds acc (or None).
func (b *Builder) Linear(role Role, x, acc graph.ID) graph.ID {
	w := b.Weight(role, ".weight")
	y := b.G.Linear(w, x, b.Weight(role, ".bias"), acc, 1)
	p, ok := b.Pair(role)
	if !ok || b.G.Err() != nil {
		return y
	}
	s := b.G.Value(w).Shape
	return b.G.Linear(b.lora(role, LoraB, p.Rank, s[1]), b.down(role, p, x, 1), graph.None, y, p.Scale)
}

// Linears is Linear for roles that share their input. The As of their pairs, where they lie one after the other, are bound as
// one matrix under the first one's name, and multiply x in one product: each alone is too thin to repay reading x for it.
// Dropout, whose mask is a role's own, keeps them apart.
func (b *Builder) Linears(x graph.ID, roles ...Role) []graph.ID {
	var pairs []Role
	rank, end := int64(0), int64(-1)
	for _, role := range roles {
		p, ok := b.Pair(role)
		if !ok {
			continue
		}
		if p.Dropout > 0 || end >= 0 && p.At != end {
			pairs = nil
			break
		}
		pairs, rank, end = append(pairs, role), rank+p.Rank, p.At+p.Rank*b.G.Value(x).Shape[0]
	}
	out := make([]graph.ID, len(roles))
	if len(pairs) < 2 || b.G.Err() != nil {
		for i, role := range roles {
			out[i] = b.Linear(role, x, graph.None)
		}
		return out
	}
	for i, role := range roles {
		out[i] = b.G.Linear(b.Weight(role, ".weight"), x, b.Weight(role, ".bias"), graph.None, 1)
	}
	z := b.G.Linear(b.lora(pairs[0], LoraA, b.G.Value(x).Shape[0], rank), x, graph.None, graph.None, 1)
	at := int64(0)
	for i, role := range roles {
		p, ok := b.Pair(role)
		if !ok {
			continue
		}
		s := b.G.Value(out[i]).Shape
		out[i] = b.G.Linear(b.lora(role, LoraB, p.Rank, s[0]), b.G.Slice(z, at, p.Rank), graph.None, out[i], p.Scale)
		at += p.Rank
	}
	return out
}

// down gives scale·A x, with dropout on x.
func (b *Builder) down(role Role, p Pair, x graph.ID, scale float64) graph.ID {
	b.streams++
	if p.Dropout > 0 {
		x = b.G.Dropout(x, p.Dropout, b.streams)
	}
	return b.G.Linear(b.lora(role, LoraA, b.G.Value(x).Shape[0], p.Rank), x, graph.None, graph.None, scale)
}

func (b *Builder) lora(role Role, which string, ne0, ne1 int64) graph.ID {
	return b.G.Bound(graph.Value{Name: string(role) + ".weight" + which, Kind: graph.Param, Type: graph.F32, Shape: graph.Matrix(ne0, ne1),
		Ref: graph.None, Delta: true})
}

// Embedding gathers the tokens' rows of token_embd. Its LoRA pair is stored flipped, as llama.cpp's build_inp_embd reads it: A [r, n_vocab] is
// indexed by token, B [r, n_embd] multiplies.
func (b *Builder) Embedding() graph.ID {
	ids := b.Indices(InputTokens, b.T)
	x := b.G.Rows(b.Weight(TokenEmbd, ".weight"), ids)
	p, ok := b.Pair(TokenEmbd)
	if !ok {
		return x
	}
	a := b.G.Rows(b.lora(TokenEmbd, LoraA, p.Rank, int64(b.HP.NVocab)), ids)
	return b.G.Linear(b.lora(TokenEmbd, LoraB, p.Rank, int64(b.HP.NEmbd)), a, graph.None, x, p.Scale)
}

// RMSNorm normalises x (or each head of it) with the role's weight.
func (b *Builder) RMSNorm(role Role, x graph.ID, eps float64) graph.ID {
	return b.G.RMSNorm(x, b.Weight(role, ".weight"), eps)
}

// LayerNorm normalises x with the role's weight and bias.
func (b *Builder) LayerNorm(role Role, x graph.ID, eps float64) graph.ID {
	return b.G.LayerNorm(x, b.Weight(role, ".weight"), b.Weight(role, ".bias"), eps)
}

// Rope rotates heads of headDim elements by their tokens' positions, with the model's frequency factors where it has any.
func (b *Builder) Rope(x graph.ID, heads, headDim int, p graph.Rotary) graph.ID {
	factors := b.Weight(RopeFreqs, ".weight")
	return b.G.Rope(x, b.Indices(InputPos, b.T), factors, heads, headDim, p)
}

// Attention attends under the batch's tree.
func (b *Builder) Attention(q, k, v graph.ID, a graph.AttentionAttr) graph.ID {
	return b.G.Attention(q, k, v, b.Indices(InputTree, 1+3*b.Segments), a)
}

// Logits gives the whole vocabulary's logits [n_vocab, C] from h, the rows after the last norm.
func (b *Builder) Logits(h graph.ID) graph.ID {
	if b.HP.TiedOutput {
		return b.G.Linear(b.Weight(TokenEmbd, ".weight"), h, graph.None, graph.None, 1)
	}
	return b.Linear(Output, h, graph.None)
}

// Head gives the log-probabilities of the c counted tokens from x, the rows after the last norm. With mean, what the
// derivative needs is computed in the same pass.
func (b *Builder) Head(h graph.ID, c int64, mean bool) graph.ID {
	role := Output
	if b.HP.TiedOutput {
		role = TokenEmbd
	}
	w, h2, w2 := b.Weight(role, ".weight"), graph.None, graph.None
	if p, ok := b.Pair(Output); ok && !b.HP.TiedOutput {
		h2 = b.down(Output, p, h, p.Scale)
		w2 = b.lora(Output, LoraB, p.Rank, int64(b.HP.NVocab))
	}
	return b.G.Head(h, w, b.Indices(InputTargets, c), h2, w2, mean)
}
