package adapter

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/delta"
	"github.com/ggtune/ggtune/internal/registry"
)

// A Kind is what an adapter has beside each weight.
type Kind string

// The kinds. LoRAFA and VeRA leave as LoRA; of DoRA and IA3 there are files of our own, with their name as
// adapter.type, which llama.cpp refuses.
const (
	LoRA   Kind = ""        // a pair (delta.LoRA)
	LoRAFA Kind = "lora-fa" // a pair whose A stays as it begins
	VeRA   Kind = "vera"    // two vectors around random matrices that all weights share (delta.VeRA)
	DoRA   Kind = "dora"    // a pair, and the magnitudes of the weight's rows (delta.DoRA)
	IA3    Kind = "ia3"     // a vector times the layer's outputs (delta.IA3)
)

// Kinds lists them.
func Kinds() []Kind { return []Kind{LoRA, LoRAFA, VeRA, DoRA, IA3} }

// String is the kind's name.
func (k Kind) String() string {
	if k == LoRA {
		return "lora"
	}
	return string(k)
}

// ParseKind reads a name.
func ParseKind(name string) (Kind, error) {
	var known []string
	for _, k := range Kinds() {
		if k.String() == name {
			return k, nil
		}
		known = append(known, k.String())
	}
	return LoRA, &registry.UnknownError{Kind: "kind of adapter", Name: name, Known: known}
}

// Merged says that llama.cpp has no place for such an adapter: it leaves in a model that it was merged into.
func (k Kind) Merged() bool { return k == DoRA || k == IA3 }

// Paired says that there is a pair with a rank, a scale, and a start of its own.
func (k Kind) Paired() bool { return k != IA3 && k != VeRA }

// Deltas are what stands beside the weights of a model, as changes of its graph, in the pairs' order. Their values are
// the pairs' own.
func (a *Adapter) Deltas() []delta.Placed {
	out := make([]delta.Placed, len(a.Pairs))
	for i := range a.Pairs {
		p := &a.Pairs[i]
		out[i] = delta.Placed{Tensor: p.Tensor, Delta: a.delta(p), Weight: p.weight(), Values: a.Kind.values(p),
			Late: len(a.Invocation) > 0}
	}
	return out
}

// delta is what p is in a graph.
func (a *Adapter) delta(p *Pair) delta.Delta {
	switch a.Kind {
	case VeRA:
		return delta.VeRA{Rank: p.Rank}
	case DoRA:
		return delta.DoRA{Rank: p.Rank, Scale: a.Scale(p)}
	case IA3:
		return delta.IA3{}
	}
	l := delta.LoRA{Rank: p.Rank, Scale: a.Scale(p), Block: a.Block, FixedA: a.Kind == LoRAFA}
	if p.Flipped {
		return delta.LoRARows(l)
	}
	return l
}

// values are the numbers of p, in the order of its delta's parameters.
func (k Kind) values(p *Pair) [][]float32 {
	if !k.Paired() {
		return p.More
	}
	return append([][]float32{p.A, p.B}, p.More...)
}

// pair is what stands beside a weight of that kind before anything is known of the weight.
func (k Kind) pair(p arch.Part, il int, rank int64) Pair {
	if !k.Paired() {
		out := newPair(p, il, 0)
		out.Rank = rank
		if k == IA3 {
			out.Rank = 0
			out.More = [][]float32{repeated(out.BShape[1], 1)}
		}
		return out
	}
	out := newPair(p, il, rank)
	if k == DoRA { // Magnitudes fills them
		out.More = [][]float32{repeated(out.BShape[1], 0), repeated(out.BShape[1], 0)}
	}
	return out
}

func repeated(n int64, with float32) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = with
	}
	return out
}

// veraD is what the entries of VeRA's d begin as (Kopiczko et al. 2024, section 4.1); those of b begin as 0.
const veraD = 0.1

// share draws VeRA's matrices, one of each shape, uniformly within ±√(6/n) of n inputs, as PEFT does, and gives every
// pair its vectors.
func (a *Adapter) share(seed uint64) {
	drawn := map[string][]float32{}
	for i := range a.Pairs {
		p := &a.Pairs[i]
		p.More = nil
		for _, q := range a.delta(p).Params(p.weight()) {
			n := q.Shape.Elements()
			switch q.Name {
			case delta.VeraLambdaD:
				p.More = append(p.More, repeated(n, veraD))
				continue
			case delta.VeraLambdaB:
				p.More = append(p.More, repeated(n, 0))
				continue
			}
			if drawn[q.Shared] == nil {
				r := rand.New(rand.NewPCG(seed, nameSeed(q.Shared)))
				bound := math.Sqrt(6 / float64(q.Shape[0]))
				x := make([]float32, n)
				for j := range x {
					x[j] = float32((2*r.Float64() - 1) * bound)
				}
				drawn[q.Shared] = x
			}
			p.More = append(p.More, drawn[q.Shared])
		}
	}
}

// Leaving is the adapter as files hold it: those that are a LoRA in the end as one.
func (a *Adapter) Leaving() *Adapter {
	out := *a
	switch a.Kind {
	case LoRAFA:
		out.Kind = LoRA
	case VeRA:
		out.Kind, out.Pairs = LoRA, slices.Clone(a.Pairs)
		for i := range out.Pairs {
			out.Pairs[i].multiply()
			out.Alpha = float64(out.Pairs[i].Rank) // a scale of 1; all have one rank
		}
	default:
		return a
	}
	return &out
}

// Size is how many numbers its file holds.
func (a *Adapter) Size() (n int64) {
	for i := range a.Pairs {
		p := &a.Pairs[i]
		if a.Kind == VeRA {
			n += p.Rank * (p.AShape[0] + p.BShape[1])
			continue
		}
		for _, x := range a.Kind.values(p) {
			n += int64(len(x))
		}
	}
	return n
}

// multiply makes a pair of VeRA's numbers: A is d∘A, B is b∘B.
func (p *Pair) multiply() {
	in, rank, top := p.AShape[0], p.Rank, p.BShape[1]
	va, vb, d, b := p.More[0], p.More[1], p.More[2], p.More[3]
	p.AShape, p.BShape, p.More = [2]int64{in, rank}, [2]int64{rank, top}, nil
	p.A, p.B = make([]float32, in*rank), make([]float32, rank*top)
	for j, x := range va {
		p.A[j] = x * d[int64(j)/in]
	}
	for j, x := range vb {
		p.B[j] = x * b[int64(j)/rank]
	}
}

// Magnitudes fills in the norms of the rows of weights, of which read gives those of a tensor, and with begin makes
// DoRA's magnitudes begin as them.
func (a *Adapter) Magnitudes(read func(tensor string) ([]float32, error), begin bool, done Progress) error {
	for i := range a.Pairs {
		p := &a.Pairs[i]
		norms, err := read(p.Tensor)
		if err != nil {
			return err
		}
		if int64(len(norms)) != p.BShape[1] {
			return fmt.Errorf("tensor %q has %d rows, expected %d", p.Tensor, len(norms), p.BShape[1])
		}
		copy(p.More[1], norms)
		if begin {
			copy(p.More[0], norms)
		}
		done(i+1, len(a.Pairs))
	}
	return nil
}

// ia3Roles are those of (IA)³: keys, values, and the inner activation of a gated feed-forward network, which multiplies
// the outputs of ffn_up.
var ia3Roles = []arch.Role{arch.AttnK, arch.AttnV, arch.FFNUp}

// targets are the roles that an adapter of the kind stands beside.
func (k Kind) targets(net *arch.Net, names []string) ([]arch.Role, error) {
	known := net.LinearRoles()
	if k == IA3 && len(names) == 0 {
		for _, r := range append([]arch.Role{arch.FFNGate}, ia3Roles...) {
			if !slices.Contains(known, r) {
				return nil, fmt.Errorf("(IA)³ scales %s, and the inner activation of the feed-forward network through "+
					"ffn_up beside ffn_gate; architecture %q has no %s: choose --targets whose outputs are scaled, of "+
					"%s", join(ia3Roles[:2]), net.Arch, r, join(known))
			}
		}
		return ia3Roles, nil
	}
	out, err := Targets(net, names)
	if err != nil || k == LoRA || k == LoRAFA {
		return out, err
	}
	for _, r := range out {
		if !slices.Contains(net.UsualRoles(), r) && slices.Contains(known, r) {
			return nil, fmt.Errorf("target %q: %s stands beside matrices that all tokens meet only; leave %s out, or "+
				"train a lora", r, strings.ToUpper(k.String()), r)
		}
		if r == arch.Output || r == arch.TokenEmbd {
			return nil, fmt.Errorf("target %q: %s stands beside matrices of the layers only; leave %s out, or train a "+
				"lora", r, strings.ToUpper(k.String()), r)
		}
	}
	return out, nil
}
