// Package adapter holds LoRA pairs: which tensors they stand beside, how they start, and how they are kept in
// llama.cpp's adapter format and in PEFT's. It knows no graph, no optimizer and no memory but its own.
package adapter

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/delta"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
)

// A Pair is one LoRA pair (Hu et al. 2021): beside y = W x stands Scale·B(A x). Both are stored as llama.cpp reads
// them, in ggml order. Other kinds of adapter have more beside a weight, or something else.
type Pair struct {
	Tensor  string // name of W in the base, e.g. "blk.0.attn_q.weight"
	Role    arch.Role
	Layer   int // -1 outside the layers
	Rank    int64
	A, B    []float32
	AShape  [2]int64 // [n_in, rank]; token_embd: [rank, n_vocab]
	BShape  [2]int64 // [rank, n_out]; token_embd: [rank, n_embd]
	Flipped bool     // token_embd: A is indexed by token, see llama.cpp's build_inp_embd
	// Experts is how many experts the tensor has matrices of: each has halves of these shapes, one behind the other in
	// A and B. 0: it is one matrix, as that of a single expert is.
	Experts int64
	// More are the numbers of the kind's other parameters, in the order of its delta's. Kinds that have no pair have
	// A and B empty.
	More [][]float32
}

// An Adapter is a set of pairs with one alpha.
type Adapter struct {
	Purpose
	Arch string // general.architecture of the base
	Kind Kind
	// Alpha is written to the file; llama.cpp scales by Alpha/rank. rsLoRA is alpha·√r here (Kalajdzievski 2023).
	Alpha float64
	Pairs []Pair
	// Type is what its file holds pairs in: F32, which the zero Adapter has, or F16. What is read is F32 in memory.
	Type gguf.Type
	// Block says that each row of A is the same number over so many inputs, and stays so in training; 0: A is free.
	Block int64
	// Info is the metadata under "ggtune.", by key without that prefix.
	Info map[string]string
	// Notes are what whoever reads it from PEFT's format should know: what is not as it stood there.
	Notes []string
}

// Scale is what the pair's product is multiplied by.
func (a *Adapter) Scale(p *Pair) float64 { return a.Alpha / float64(p.Rank) }

// A Config chooses the pairs of a new adapter.
type Config struct {
	Kind    Kind
	Rank    int      // r, 1 to 1024
	Alpha   float64  // above 0; the scale is Alpha/Rank, or Alpha/√Rank with RSLoRA
	RSLoRA  bool     // rank-stabilised scale
	Targets []string // tensor roles; empty means every linear role of the layers that all tokens meet
	Layers  []int    // layers to adapt; empty means all
	Init    string   // of A: "kaiming" (PEFT's default) or "gaussian", with B zero; or one of Derived
	Block   int64    // each row of A is the same number over so many inputs; 0: it is free
	Seed    uint64
}

// maxRank is beyond what any use has been found for.
const maxRank = 1024

// Inits lists the ways A can start by chance.
func Inits() []string { return []string{kaiming, "gaussian"} }

const kaiming = "kaiming"

// EVA starts A as the directions in which a matrix's inputs vary most (Paischer et al. 2024), with B zero: New has it
// start by chance, and who has the inputs fills it.
const EVA = "eva"

// Validate reports every fault of c.
func (c Config) Validate() error {
	var faults []error
	if c.Rank < 1 || c.Rank > maxRank {
		faults = append(faults, fmt.Errorf("rank is %d, expected 1 to %d", c.Rank, maxRank))
	}
	if !(c.Alpha > 0) || math.IsInf(c.Alpha, 0) {
		faults = append(faults,
			fmt.Errorf("alpha is %g, expected a number above 0 (llama.cpp reads alpha 0 as \"no alpha\" and would "+
				"scale by 1)", c.Alpha))
	}
	if all := append(append(Inits(), Derived()...), EVA); !slices.Contains(all, c.Init) {
		faults = append(faults, fmt.Errorf("init is %q, expected one of: %s", c.Init, strings.Join(all, ", ")))
	}
	return errors.Join(faults...)
}

// New makes the pairs that c chooses for a model; A starts at random, B at zero, so that the adapter changes nothing
// yet.
func New(net *arch.Net, c Config) (*Adapter, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	targets, err := c.Kind.targets(net, c.Targets)
	if err != nil {
		return nil, err
	}
	layers, err := layerSet(net.NLayer, c.Layers)
	if err != nil {
		return nil, err
	}
	out := &Adapter{Arch: net.Arch, Kind: c.Kind, Alpha: c.Alpha, Block: c.Block, Info: map[string]string{}}
	if !c.Kind.Paired() {
		out.Alpha = 0
	} else if c.RSLoRA {
		out.Alpha = c.Alpha * math.Sqrt(float64(c.Rank))
	}
	net.Linear(func(p arch.Part, il int) {
		if !slices.Contains(targets, p.Role) || il >= 0 && !slices.Contains(layers, il) {
			return
		}
		pair := c.Kind.pair(p, il, int64(c.Rank))
		pair.start(c)
		out.Pairs = append(out.Pairs, pair)
	})
	if c.Kind == VeRA {
		out.share(c.Seed)
	}
	return out, nil
}

// newPair is a pair of zeros beside a weight.
func newPair(p arch.Part, il int, rank int64) Pair {
	pair := Pair{Tensor: p.Name(il), Role: p.Role, Layer: il, Rank: rank, Flipped: p.Role == arch.TokenEmbd}
	if len(p.Shape) > 2 && p.Shape[2] > 1 {
		pair.Experts = p.Shape[2]
	}
	halves := delta.LoRA{Rank: rank}.Params(p.Dims())
	if pair.Flipped {
		halves = delta.LoRARows{Rank: rank}.Params(p.Dims())
	}
	pair.AShape, pair.BShape = [2]int64(halves[0].Shape[:]), [2]int64(halves[1].Shape[:])
	pair.A = make([]float32, halves[0].Shape.Elements())
	pair.B = make([]float32, halves[1].Shape.Elements())
	return pair
}

// weight is the shape of the weight that a pair stands beside.
func (p *Pair) weight() graph.Shape {
	w := graph.Matrix(p.AShape[0], p.BShape[1])
	if p.Flipped {
		w = graph.Matrix(p.BShape[1], p.AShape[1])
	}
	if p.Experts > 0 {
		w[2] = p.Experts
	}
	return w
}

// matrices are the pairs beside each expert's matrix, in p's own memory; of one matrix p itself.
func (p *Pair) matrices() []Pair {
	if p.Experts == 0 {
		return []Pair{*p}
	}
	out := make([]Pair, p.Experts)
	a, b := len(p.A)/len(out), len(p.B)/len(out)
	for e := range out {
		out[e] = *p
		out[e].Experts, out[e].A, out[e].B = 0, p.A[e*a:(e+1)*a:(e+1)*a], p.B[e*b:(e+1)*b:(e+1)*b]
	}
	return out
}

// matrices lists the pairs beside single matrices: of experts those of each.
func (a *Adapter) matrices() (out []Pair) {
	for i := range a.Pairs {
		out = append(out, a.Pairs[i].matrices()...)
	}
	return out
}

// gather makes one pair of those beside the matrices of a tensor's experts, which follow one another.
func (a *Adapter) gather() {
	all := a.Pairs
	a.Pairs = nil
	for len(all) > 0 {
		p, n := all[0], 1
		for ; n < len(all) && all[n].Tensor == p.Tensor; n++ {
			p.A, p.B = append(p.A, all[n].A...), append(p.B, all[n].B...)
			p.Experts = int64(n) + 1
		}
		a.Pairs, all = append(a.Pairs, p), all[n:]
	}
}

// hubRoles gives the roles that PEFT's users know by a name of Hugging Face's, such as q_proj.
func hubRoles(net *arch.Net, name string) []arch.Role {
	var out []arch.Role
	for role, module := range net.Hub().Modules {
		if module == name || strings.HasSuffix(module, "."+name) {
			out = append(out, role)
		}
	}
	slices.Sort(out)
	return out
}

// Targets resolves the names of target roles. Names are whole: attn_q does not take attn_q_norm. With tied embeddings
// llama.cpp cannot run a pair on output or token_embd (it finds it under both uses), so both are refused. No names are
// every linear role that all tokens meet: experts have pairs where they are named, for each has one of its own, which
// few tokens train, and the router where it is.
func Targets(net *arch.Net, names []string) ([]arch.Role, error) {
	known, usual := net.LinearRoles(), net.UsualRoles()
	if len(names) == 0 {
		return usual, nil
	}
	if !net.TiedOutput {
		if !net.Headless {
			known = append(known, arch.Output)
		}
		known = append(known, arch.TokenEmbd)
	}
	var out []arch.Role
	for _, n := range names {
		r := arch.Role(n)
		switch {
		case slices.Contains(known, r):
			out = append(out, r)
		case n == "all-linear": // PEFT's name for every linear layer, among which it counts no expert and no router
			out = append(out, usual...)
		case whyAlone(net, r) != "":
			return nil, fmt.Errorf("target %q: llama.cpp cannot run an adapter there, %s; leave %q out", n,
				whyAlone(net, r), n)
		case net.TiedOutput && (r == arch.Output || r == arch.TokenEmbd):
			return nil, fmt.Errorf("target %q: the model's output head is its token embedding, and llama.cpp cannot "+
				"run an adapter on a tensor with both uses; leave %q out", n, n)
		default:
			ours := ""
			theirs := slices.DeleteFunc(hubRoles(net, n), func(r arch.Role) bool { return !slices.Contains(known, r) })
			switch {
			case n == "all":
				ours = "did you mean all-linear? "
			case len(theirs) > 0:
				ours = fmt.Sprintf("did you mean %s? ", join(theirs))
			}
			return nil, fmt.Errorf("target %q is no linear role of architecture %q; %sknown: %s, all-linear", n,
				net.Arch, ours, join(known))
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// whyAlone says why llama.cpp cannot run a pair at a role of the layers; "": it can, or there is no such role.
func whyAlone(net *arch.Net, r arch.Role) (why string) {
	net.Linear(func(p arch.Part, _ int) {
		if p.Role == r {
			why = p.Alone
		}
	})
	return why
}

func join(roles []arch.Role) string {
	s := make([]string, len(roles))
	for i, r := range roles {
		s[i] = string(r)
	}
	return strings.Join(s, ", ")
}

func layerSet(n int, asked []int) ([]int, error) {
	if len(asked) == 0 {
		out := make([]int, n)
		for i := range out {
			out[i] = i
		}
		return out, nil
	}
	for _, il := range asked {
		if il < 0 || il >= n {
			return nil, fmt.Errorf("layer %d: the model has layers 0 to %d", il, n-1)
		}
	}
	out := slices.Clone(asked)
	slices.Sort(out)
	return slices.Compact(out), nil
}
