package arch_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/delta"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
)

// build makes the graph of a layer (il), of the embedding or of what follows the last layer (il -1), of a model that
// has every optional tensor, with dropout at a rate. asked, unless nil, gets the roles that were asked for what is
// trained beside them.
func build(net *arch.Net, l arch.Layer, il int, asked map[arch.Role]bool, drop float64) *graph.Graph {
	const tokens, segments = 5, 2
	tensors := map[string]arch.Part{}
	for _, p := range append(net.Global(), l.Parts()...) {
		tensors[string(p.Role)+p.Suffix] = p
	}
	b := &arch.Builder{G: &graph.Graph{}, HP: net.HParams, T: tokens, Segments: segments, Drop: drop,
		Tensor: func(r arch.Role, suffix string) (arch.Tensor, bool) {
			p, ok := tensors[string(r)+suffix]
			if !ok {
				return arch.Tensor{}, false
			}
			return arch.Tensor{Shape: p.Dims()}, true
		},
		Sets: []arch.Set{func(r arch.Role) (delta.Use, bool) {
			if asked != nil {
				asked[r] = true
			}
			return delta.Use{}, false
		}},
	}
	switch {
	case il >= 0:
		b.G.Output(l.Build(b, b.Input()))
	case l == net.Embed:
		b.G.Output(l.Build(b, graph.None))
	case net.Headless:
		b.G.Output(b.Project(l, l.Build(b, b.Input())))
	default:
		logp, _ := b.Head(l.Build(b, b.Input()), b.Indices(arch.InputTargets, tokens), graph.HeadAttr{Scale: 1})
		b.G.Output(logp)
	}
	return b.G
}

// Every architecture's layers are comparable values that read each tensor they list, by its shape, and no other, and
// ask for what is trained beside each matrix that may have something.
func TestLayers(t *testing.T) {
	for _, name := range arch.Names() {
		t.Run(name, func(t *testing.T) {
			net, err := read(t, name, func(*gguf.Writer) {})
			if err != nil {
				t.Fatal(err)
			}
			// One that lists no output matrix always is tied.
			net.TiedOutput = !slices.ContainsFunc(net.Final.Parts(),
				func(p arch.Part) bool { return p.Role == arch.Output })
			seen := map[string]bool{}
			checkLayer(t, net, net.Embed, -1, seen)
			for il := range net.NLayer {
				if net.Layer(il) != net.Layer(il) { // panics where they cannot be compared
					t.Errorf("layer %d does not equal itself", il)
				}
				checkLayer(t, net, net.Layer(il), il, seen)
			}
			checkLayer(t, net, net.Final, -1, seen)
		})
	}
}

func checkLayer(t *testing.T, net *arch.Net, l arch.Layer, il int, seen map[string]bool) {
	t.Helper()
	if !reflect.TypeOf(l).Comparable() {
		t.Fatalf("%T cannot be compared", l)
	}
	asked, want, listed := map[arch.Role]bool{}, map[arch.Role]bool{}, map[string]graph.Shape{}
	g := build(net, l, il, asked, 0)
	if g.Err() != nil {
		t.Fatalf("%T: %v", l, g.Err())
	}
	for _, p := range l.Parts() {
		if p.Linear && !p.Matrix() {
			t.Errorf("%T: part %q of shape %v is no matrix of a linear layer", l, p.Name(il), p.Shape)
		}
		if p.Linear {
			want[p.Role] = true
		}
		if seen[p.Name(il)] && !p.Shared {
			t.Errorf("%T: tensor %q is listed twice", l, p.Name(il))
		}
		seen[p.Name(il)] = true
		listed[string(p.Role)+p.Suffix] = p.Dims()
	}
	read := map[string]graph.Shape{}
	for _, v := range g.Values {
		if v.Kind == graph.Weight {
			read[v.Name] = v.Shape
		}
	}
	if l == net.Final && net.TiedOutput {
		delete(read, "token_embd.weight") // the embedding's, and listed there
	}
	delete(listed, "rope_factors_long.weight") // a file may have it; the graph takes those for short contexts
	if !maps.Equal(read, listed) {
		t.Errorf("%T reads the tensors %v, and lists %v", l, read, listed)
	}
	if !maps.Equal(asked, want) {
		t.Errorf("%T asks what is trained beside %v, want %v", l, names(asked), names(want))
	}
	if got, want := g.Value(g.Outputs[0]).Shape[0], int64(net.NEmbd); (l != net.Final || net.Headless) && got != want {
		t.Errorf("%T gives rows of %d, want %d", l, got, want)
	}
}

// TestDropout: where dropout is asked for, every attention drops probabilities, and what transformers' classes drop
// besides is dropped: of the embedding, of a layer's halves. Elsewhere nothing is.
func TestDropout(t *testing.T) {
	const rate = 0.1
	besides := map[string][2]int{"bert": {1, 2}, "gpt2": {1, 2}, "starcoder2": {1, 2}, "phi3": {0, 2},
		"stablelm": {0, 1}, "nomic-bert": {1, 2}, "llama": {}, "gemma3": {}, "granite": {}}
	for _, name := range arch.Names() {
		net, err := read(t, name, func(*gguf.Writer) {})
		if err != nil {
			t.Fatal(err)
		}
		count := func(l arch.Layer, il int, rate float64) (dropped int) {
			g := build(net, l, il, nil, rate)
			if g.Err() != nil {
				t.Fatalf("%s: %v", name, g.Err())
			}
			streams := map[int64]bool{}
			for _, n := range g.Nodes {
				var a graph.DropoutAttr
				switch n.Op {
				case graph.Dropout:
					a = n.Attr.(graph.DropoutAttr)
					dropped++
				case graph.Attention:
					a = n.Attr.(graph.AttentionAttr).Drop
				default:
					continue
				}
				if a.Rate != rate || rate > 0 && streams[a.Stream] {
					t.Errorf("%s: %v at a rate of %g, stream %d; expected %g and a stream of its own", name, n.Op,
						a.Rate, a.Stream, rate)
				}
				streams[a.Stream] = true
			}
			return dropped
		}
		if n := count(net.Embed, -1, 0) + count(net.Layer(0), 0, 0); n > 0 {
			t.Errorf("%s: drops at %d places though nothing is asked", name, n)
		}
		got := [2]int{count(net.Embed, -1, rate), count(net.Layer(0), 0, rate)}
		if want, ok := besides[name]; ok && got != want {
			t.Errorf("%s: drops at %v places of the embedding and of a layer, want %v", name, got, want)
		}
	}
}

func names(m map[arch.Role]bool) []string {
	var out []string
	for r := range m {
		out = append(out, fmt.Sprint(r))
	}
	slices.Sort(out)
	return out
}

// Every tensor of an architecture has its module in transformers, and no two the same.
func TestHub(t *testing.T) {
	for _, name := range arch.Names() {
		t.Run(name, func(t *testing.T) {
			net, err := read(t, name, func(*gguf.Writer) {})
			if err != nil {
				t.Fatal(err)
			}
			hub, seen := net.Hub(), map[string]string{}
			if hub.ModelType == "" || hub.Class == "" {
				t.Errorf("model type %q, class %q: want both", hub.ModelType, hub.Class)
			}
			check := func(parts []arch.Part, il int) {
				for _, p := range parts {
					if p.Shared || p.Fixed {
						continue // a setting there, or a constant that no adapter knows
					}
					module := hub.Module(p, il)
					if module == "" {
						t.Errorf("%s has no module", p.Name(il))
					}
					if was, ok := seen[module+p.Suffix]; ok {
						t.Errorf("%s and %s are both %s", was, p.Name(il), module)
					}
					seen[module+p.Suffix] = p.Name(il)
					if n := p.PairedHeads; n > 0 && p.Shape[len(p.Shape)-1]%int64(2*n) != 0 {
						t.Errorf("%s: %d rows in %d heads of pairs", p.Name(il), p.Shape[len(p.Shape)-1], n)
					}
				}
			}
			check(net.Global(), -1)
			for il := range net.NLayer {
				check(net.Layer(il).Parts(), il)
			}
		})
	}
}
