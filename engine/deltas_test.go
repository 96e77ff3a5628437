package engine_test

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/cpu"
	"github.com/ggtune/ggtune/engine/delta"
	"github.com/ggtune/ggtune/engine/graph"
)

// Sizes of the layers below: x [nIn, nTokens], W [nIn, nOut], bias [nOut].
const nIn, nOut, nTokens, nRank = 12, 10, 7, 3

// A mixed is a delta of another kind than LoRA: it multiplies the layer's output by a matrix.
type mixed struct{}

func (mixed) Params(w graph.Shape) []delta.Param {
	return []delta.Param{{Name: "mix", Shape: graph.Matrix(w[1], w[1])}}
}

func (mixed) Apply(s *delta.Site) graph.ID {
	y := s.Base(graph.None)
	return s.G.Linear(s.Param("mix"), y, graph.None, s.Acc, 1)
}

// formulas are the values of a graph by name, and what is computed from them.
type formulas map[string][]float64

// product is scale·M x of a matrix with rows of n numbers.
func (v formulas) product(m string, x []float64, n int, scale float64) []float64 {
	w := v[m]
	rows := len(w) / n
	var y []float64
	for t := 0; t < len(x); t += n {
		for r := range rows {
			sum := 0.0
			for i := range n {
				sum += w[r*n+i] * x[t+i]
			}
			y = append(y, scale*sum)
		}
	}
	return y
}

// base is the layer of a role without deltas.
func (v formulas) base(role string) []float64 {
	y := v.product(role+".weight", v["x"], nIn, 1)
	for i := range y {
		y[i] += v[role+".bias"][i%nOut]
	}
	return y
}

// pair is a LoRA pair's part of a layer's output.
func (v formulas) pair(name string, scale float64) []float64 {
	return v.product(name+".lora_b", v.product(name+".lora_a", v["x"], nIn, 1), nRank, scale)
}

func sum(parts ...[]float64) []float64 {
	y := slices.Clone(parts[0])
	for _, p := range parts[1:] {
		for i := range y {
			y[i] += p[i]
		}
	}
	return y
}

// set makes a set of deltas by role, whose stacked parameters lie one right behind the other in the order of roles.
func set(name string, of map[arch.Role]delta.Delta) arch.Set {
	return func(r arch.Role) (delta.Use, bool) {
		at := int64(0)
		for _, role := range []arch.Role{arch.AttnQ, arch.AttnK, arch.AttnV} {
			if role == r {
				break
			}
			if d, ok := of[role]; ok {
				at += delta.Stacked(d, graph.Matrix(nIn, nOut))
			}
		}
		d, ok := of[r]
		return delta.Use{Delta: d, Set: name, At: at}, ok
	}
}

// TestDeltas: several sets at one layer apply in their order, whatever their kinds, joined or not: the outputs and
// every gradient are those of the formulas.
func TestDeltas(t *testing.T) {
	one, two := delta.LoRA{Rank: nRank, Scale: 0.5}, delta.LoRA{Rank: nRank, Scale: -2}
	all := func(d delta.Delta) map[arch.Role]delta.Delta {
		return map[arch.Role]delta.Delta{arch.AttnQ: d, arch.AttnK: d, arch.AttnV: d}
	}
	linear := func(b *arch.Builder, x, acc graph.ID) []graph.ID { return []graph.ID{b.Linear(arch.AttnQ, x, acc)} }
	linears := func(b *arch.Builder, x, _ graph.ID) []graph.ID {
		return b.Linears(x, arch.AttnQ, arch.AttnK, arch.AttnV)
	}
	for name, tt := range map[string]struct {
		sets    []arch.Set
		build   func(b *arch.Builder, x, acc graph.ID) []graph.ID
		meaning func(v formulas) [][]float64
	}{
		"a pair": {[]arch.Set{set("a:", all(one))}, linear,
			func(v formulas) [][]float64 {
				return [][]float64{sum(v["acc"], v.base("attn_q"), v.pair("a:attn_q.weight", 0.5))}
			}},
		"pairs around another kind": {[]arch.Set{set("a:", all(one)), set("b:", all(mixed{})), set("c:", all(two))},
			linear,
			func(v formulas) [][]float64 {
				y := sum(v.base("attn_q"), v.pair("a:attn_q.weight", 0.5))
				return [][]float64{
					sum(v["acc"], v.product("b:attn_q.weight.mix", y, nOut, 1), v.pair("c:attn_q.weight", -2))}
			}},
		"joined pairs": {[]arch.Set{set("a:", all(one))}, linears,
			func(v formulas) (y [][]float64) {
				for _, role := range []string{"attn_q", "attn_k", "attn_v"} {
					y = append(y, sum(v.base(role), v.pair("a:"+role+".weight", 0.5)))
				}
				return y
			}},
		"joined pairs, another kind, and pairs at two of three": {
			[]arch.Set{set("a:", all(one)), set("b:", map[arch.Role]delta.Delta{arch.AttnK: mixed{}}),
				set("c:", map[arch.Role]delta.Delta{arch.AttnQ: two, arch.AttnV: two})}, linears,
			func(v formulas) [][]float64 {
				q := sum(v.base("attn_q"), v.pair("a:attn_q.weight", 0.5), v.pair("c:attn_q.weight", -2))
				k := v.product("b:attn_k.weight.mix", sum(v.base("attn_k"), v.pair("a:attn_k.weight", 0.5)), nOut, 1)
				return [][]float64{q, k,
					sum(v.base("attn_v"), v.pair("a:attn_v.weight", 0.5), v.pair("c:attn_v.weight", -2))}
			}},
		"kinds that cannot be joined": {
			[]arch.Set{set("a:", map[arch.Role]delta.Delta{arch.AttnQ: one, arch.AttnK: mixed{}})}, linears,
			func(v formulas) [][]float64 {
				k := v.product("a:attn_k.weight.mix", v.base("attn_k"), nOut, 1)
				return [][]float64{sum(v.base("attn_q"), v.pair("a:attn_q.weight", 0.5)), k, v.base("attn_v")}
			}},
	} {
		t.Run(name, func(t *testing.T) {
			b := &arch.Builder{G: &graph.Graph{}, T: nTokens, Sets: tt.sets, HP: arch.HParams{NEmbd: nIn},
				Tensor: func(_ arch.Role, suffix string) (arch.Tensor, bool) {
					if suffix == ".bias" {
						return arch.Tensor{Shape: graph.Matrix(nOut, 1), Own: true}, true
					}
					return arch.Tensor{Shape: graph.Matrix(nIn, nOut), Own: true}, true
				}}
			acc := b.G.Bound(graph.Value{Name: "acc", Kind: graph.Input, Shape: graph.Matrix(nOut, nTokens),
				Ref: graph.None})
			for _, y := range tt.build(b, b.Input(), acc) {
				b.G.Output(y)
			}
			if b.G.Err() != nil {
				t.Fatal(b.G.Err())
			}
			compareWithMeaning(t, b.G, tt.meaning)
		})
	}
}

// TestDeltasRefused: a kind that cannot stand where it was put, and a second one beside the output head, are named.
func TestDeltasRefused(t *testing.T) {
	pair, rows := delta.LoRA{Rank: nRank, Scale: 1}, delta.LoRARows{Rank: nRank, Scale: 1}
	at := func(r arch.Role, d delta.Delta) arch.Set { return set("", map[arch.Role]delta.Delta{r: d}) }
	head := func(b *arch.Builder) graph.ID {
		logp, _ := b.Head(b.Input(), b.Indices(arch.InputTargets, nTokens), graph.HeadAttr{Scale: 1})
		return logp
	}
	for name, tt := range map[string]struct {
		sets  []arch.Set
		build func(b *arch.Builder) graph.ID
		want  string
	}{
		"rows beside a layer": {[]arch.Set{at(arch.AttnQ, rows)},
			func(b *arch.Builder) graph.ID { return b.Linear(arch.AttnQ, b.Input(), graph.None) },
			`LoRARows cannot stand beside "attn_q"`},
		"a pair beside a table": {[]arch.Set{at(arch.TokenEmbd, pair)}, (*arch.Builder).Embedding,
			`LoRA cannot stand beside "token_embd"`},
		"another kind at the head": {[]arch.Set{at(arch.Output, mixed{})},
			head,
			`mixed cannot stand beside "output"`},
		"two at the head": {[]arch.Set{at(arch.Output, pair), at(arch.Output, pair)},
			head,
			`LoRA cannot stand beside "output"`},
	} {
		t.Run(name, func(t *testing.T) {
			b := &arch.Builder{G: &graph.Graph{}, T: nTokens, Sets: tt.sets, HP: arch.HParams{NEmbd: nIn},
				Tensor: func(arch.Role, string) (arch.Tensor,
					bool) {
					return arch.Tensor{Shape: graph.Matrix(nIn, nOut)}, true
				}}
			tt.build(b)
			if err := b.G.Err(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// compareWithMeaning runs a graph and its derivative with random numbers, and compares outputs and gradients with those
// of a meaning: gradients by finite differences in float64.
func compareWithMeaning(t *testing.T, g *graph.Graph, meaning func(formulas) [][]float64) {
	t.Helper()
	m := newMachine(t)
	m.fill(g)
	want := meaning(m.values)
	for i, y := range m.run(g) {
		closeTo(t, "output", y, want[i])
	}
	bw, err := graph.Differentiate(g, []graph.ID{g.Find(graph.Input, "x")}, false)
	if err != nil {
		t.Fatal(err)
	}
	coef := make([][]float64, len(want))
	for i := range coef {
		coef[i] = m.random(graph.GradName(i), len(want[i]))
	}
	dx := m.run(bw.Graph)[0]
	loss := func() (sum float64) {
		for i, y := range meaning(m.values) {
			for k := range y {
				sum += coef[i][k] * y[k]
			}
		}
		return sum
	}
	slope := func(name string) []float64 {
		v, out := m.values[name], []float64(nil)
		const step = 1e-4
		for i, x := range v {
			v[i] = x + step
			up := loss()
			v[i] = x - step
			out = append(out, (up-loss())/(2*step))
			v[i] = x
		}
		return out
	}
	closeTo(t, "gradient of x", dx, slope("x"))
	for name := range m.values { // weights, biases and what stands beside them
		if strings.Contains(name, "attn_") {
			closeTo(t, "gradient of "+name, m.read(m.grads[name], len(m.values[name])), slope(name))
		}
	}
}

func closeTo(t *testing.T, what string, got, want []float64) {
	t.Helper()
	const most = 2e-5 // of numbers about 1; f32 sums of 12 products differ by up to 3e-6
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	for i := range got {
		if !(math.Abs(got[i]-want[i]) <= most*(1+math.Abs(want[i]))) {
			t.Fatalf("%s: number %d is %g, want %g", what, i, got[i], want[i])
		}
	}
}

// A machine runs graphs on the processor, in f32 throughout.
type machine struct {
	t      *testing.T
	b      *cpu.Backend
	rand   *rand.Rand
	values formulas
	places map[string]backend.Place // of values
	grads  map[string]backend.Place
}

func newMachine(t *testing.T) *machine {
	b, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return &machine{t: t, b: b, rand: rand.New(rand.NewPCG(1, 2)), values: formulas{},
		places: map[string]backend.Place{}, grads: map[string]backend.Place{}}
}

func (m *machine) alloc(n int64) backend.Place {
	mem, err := m.b.Alloc(4 * n)
	if err != nil {
		m.t.Fatal(err)
	}
	return backend.Place{Mem: mem}
}

// fill gives every bound value of g random numbers. A stacked parameter that is bound as several is that of each: they
// have a rank of nRank.
func (m *machine) fill(g *graph.Graph) {
	for i := range g.Values {
		v := &g.Values[i]
		if v.Kind == graph.Temp {
			continue
		}
		n := v.Shape.Elements()
		m.grads[v.Name] = m.alloc(n)
		x := m.random(v.Name, int(n))
		if set, ok := strings.CutSuffix(v.Name, "attn_q.weight."+delta.A); ok {
			delete(m.values, v.Name)
			for k, role := range []string{"attn_q", "attn_k", "attn_v"}[:n/(nIn*nRank)] {
				name := set + role + ".weight." + delta.A
				if n == 2*nIn*nRank && k == 1 { // pairs at q and v
					name = set + "attn_v.weight." + delta.A
				}
				m.values[name] = x[k*nIn*nRank:][:nIn*nRank]
				m.grads[name] = m.grads[v.Name].Add(int64(k) * nIn * nRank * 4)
			}
			m.grads[v.Name] = m.grads[set+"attn_q.weight."+delta.A]
		}
	}
}

// random gives a value numbers that f32 holds.
func (m *machine) random(name string, n int) []float64 {
	at, ok := m.places[name]
	if !ok {
		at = m.alloc(int64(n))
		m.places[name] = at
	}
	x, y := make([]float64, n), make([]float32, n)
	for i := range x {
		y[i] = float32(m.rand.NormFloat64() / 2)
		x[i] = float64(y[i])
	}
	if err := (backend.Floats{Backend: m.b, At: at, N: int64(n)}).Upload(y, 0); err != nil {
		m.t.Fatal(err)
	}
	m.values[name] = x
	return x
}

// run gives the outputs of g.
func (m *machine) run(g *graph.Graph) (out [][]float64) {
	p, err := m.b.Compile(g, nil, true)
	if err != nil {
		m.t.Fatal(err)
	}
	outs := map[graph.ID]backend.Place{}
	for _, id := range g.Outputs {
		outs[id] = m.alloc(g.Value(id).Shape.Elements())
	}
	err = p.Run(context.Background(),
		&backend.Binding{Work: m.alloc(p.Work()/4 + 1), Of: func(id graph.ID, v *graph.Value) backend.Place {
			switch at, ok := outs[id]; {
			case ok:
				return at
			case v.Kind == graph.Grad:
				return m.grads[v.Name]
			}
			return m.places[v.Name]
		}})
	if err != nil {
		m.t.Fatal(err)
	}
	for _, id := range g.Outputs {
		out = append(out, m.read(outs[id], int(g.Value(id).Shape.Elements())))
	}
	return out
}

func (m *machine) read(at backend.Place, n int) []float64 {
	f, err := (backend.Floats{Backend: m.b, At: at, N: int64(n)}).All()
	if err != nil {
		m.t.Fatal(err)
	}
	x := make([]float64, n)
	for i := range f {
		x[i] = float64(f[i])
	}
	return x
}
