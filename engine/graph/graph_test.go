package graph

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// derivativeTolerance bounds |analytic − numeric| ÷ (1 + |numeric|) for central differences in float64 with step 1e-5:
// their own error is about 1e-9 here.
const derivativeTolerance = 1e-7

func bound(g *Graph, name string, typ int32, ne0, ne1 int64) ID {
	return g.Bound(Value{Name: name, Kind: Input, Type: typ, Shape: Matrix(ne0, ne1), Ref: None})
}
func x(g *Graph, ne0, ne1 int64) ID { return bound(g, "x", F32, ne0, ne1) }
func weight(g *Graph, ne0, ne1 int64) ID {
	return g.Bound(Value{Name: "frozen", Kind: Weight, Shape: Matrix(ne0, ne1), Ref: None})
}
func param(g *Graph, name string, ne0, ne1 int64) ID {
	return g.Bound(Value{Name: name, Kind: Param, Shape: Matrix(ne0, ne1), Ref: None})
}

// deep is the input x with three dimensions.
func deep(g *Graph) ID {
	return g.Bound(Value{Name: "x", Kind: Input, Type: F32, Shape: Shape{3, 2, 2}, Ref: None})
}

// layer is a transformer layer with a LoRA pair: every value has several uses.
func layer(g *Graph) ID {
	h0 := x(g, 4, 6)
	h := g.RMSNorm(h0, param(g, "n", 4, 1), 1e-5)
	y := g.Linear(weight(g, 4, 4), h, None, None, 1)
	a := g.Linear(param(g, "a", 4, 2), g.Dropout(h, bound(g, "key", I64, 1, 1), 0.25, 1), None, None, 1)
	q := g.Linear(param(g, "b", 2, 4), a, None, y, 0.5)
	o := g.Attention(q, q, h, bound(g, "tree", I32, 1, 10), None, None,
		AttentionAttr{Heads: 2, KVHeads: 2, HeadDim: 2, Scale: 0.7})
	mid := g.Linear(param(g, "o", 4, 4), o, None, h0, 1)
	return g.Linear(param(g, "d", 4, 4), g.SwiGLU(mid, g.GELU(mid)), None, mid, 1)
}

var _ = differences("layer", layer)

func TestDerivatives(t *testing.T) {
	for _, c := range diffCases {
		for _, keep := range []bool{true, false} {
			name := c.name + ", recomputed"
			if keep {
				name = c.name + ", kept"
			}
			t.Run(name, func(t *testing.T) { checkDerivative(t, c.build, keep) })
		}
	}
}

func checkDerivative(t *testing.T, build func(g *Graph) ID, keep bool) {
	f := &Graph{}
	f.Output(build(f))
	xID := f.Find(Input, "x")
	b, err := Differentiate(f, []ID{xID}, keep)
	if err != nil {
		t.Fatal(err)
	}
	vals := fill(f)
	out := f.Outputs[0]
	coef := randoms(rand.New(rand.NewPCG(9, 9)), len(vals.run(f)[out]))
	loss := func() float64 {
		sum := 0.0
		for i, y := range vals.run(f)[out] {
			sum += coef[i] * y
		}
		return sum
	}
	grads := backward(f, b, vals.run(f), coef)
	if !keep {
		for _, id := range b.Keep {
			t.Errorf("keeps value %d though nothing is to be kept", id)
		}
	}
	for i := range f.Values {
		v := &f.Values[i]
		if v.Kind != Param && ID(i) != xID {
			continue
		}
		got, ok := grads[v.Name]
		if !ok {
			t.Errorf("no gradient of %q", v.Name)
			continue
		}
		for j := range vals[ID(i)] {
			const step = 1e-5
			was := vals[ID(i)][j]
			vals[ID(i)][j] = was + step
			up := loss()
			vals[ID(i)][j] = was - step
			down := loss()
			vals[ID(i)][j] = was
			want := (up - down) / (2 * step)
			if diff := math.Abs(got[j]-want) / (1 + math.Abs(want)); diff > derivativeTolerance {
				t.Fatalf("gradient of %q[%d]: got %g, want %g", v.Name, j, got[j], want)
			}
		}
	}
}

type values map[ID][]float64

// run evaluates f from its bound values alone.
func (v values) run(f *Graph) map[ID][]float64 {
	m := map[ID][]float64{}
	for id, x := range v {
		m[id] = x
	}
	eval(f, m)
	return m
}

func fill(f *Graph) values {
	r := rand.New(rand.NewPCG(1, 2))
	vals := values{}
	for i := range f.Values {
		v := &f.Values[i]
		switch {
		case v.Kind == Temp:
		case v.Name == "tree": // a root with two children
			vals[ID(i)] = []float64{3, 0, 2, -1, 2, 4, 0, 4, 6, 0}
		case v.Name == "ids":
			vals[ID(i)] = []float64{1, 3, 1}
		case v.Name == "ends": // of runs of rows
			vals[ID(i)] = []float64{1, 4}
		case v.Name == "named": // three different ones for each of two tokens
			vals[ID(i)] = []float64{1, 3, 0, 6, 2, 4}
		case v.Name == "pos":
			vals[ID(i)] = []float64{0, 1, 5}
		default:
			vals[ID(i)] = randoms(r, int(v.Shape.Elements()))
		}
	}
	return vals
}

func randoms(r *rand.Rand, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = r.NormFloat64()
	}
	return out
}

// backward evaluates b's graph and gives the gradients by name.
func backward(f *Graph, b *Backward, forward map[ID][]float64, coef []float64) map[string][]float64 {
	m := map[ID][]float64{}
	grads := map[string][]float64{}
	for i := range b.Graph.Values {
		v := &b.Graph.Values[i]
		switch {
		case v.Kind == Saved:
			m[ID(i)] = forward[v.Ref]
		case v.Kind == Grad:
			m[ID(i)] = make([]float64, v.Shape.Elements())
			grads[v.Name] = m[ID(i)]
		case v.Kind == Input && v.Name == GradName(0):
			m[ID(i)] = coef
		case v.Kind != Temp:
			m[ID(i)] = forward[f.Find(v.Kind, v.Name)]
		}
	}
	eval(b.Graph, m)
	grads["x"] = m[b.Graph.Outputs[0]]
	return grads
}

func TestKeptValuesAreCostly(t *testing.T) {
	f := &Graph{}
	f.Output(layer(f))
	b, err := Differentiate(f, []ID{f.Find(Input, "x")}, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range b.Keep {
		if op := f.Nodes[f.Producer(id)].Op; op.Cheap {
			t.Errorf("keeps the output of %v, which is cheap to compute again", op)
		}
	}
	for _, n := range b.Graph.Nodes {
		if n.Op == Attention {
			t.Error("attention is computed again though its output can be kept")
		}
	}
}

// TestNormsAreMadeTwice: a layer that is computed again does not hold a norm's output from its products to their
// gradients.
func TestNormsAreMadeTwice(t *testing.T) {
	for keep, want := range map[bool]int{true: 1, false: 2} {
		f := &Graph{}
		h := f.RMSNorm(x(f, 4, 6), weight(f, 4, 1), 1e-5)
		y := f.SwiGLU(f.Linear(param(f, "g", 4, 4), h, None, None, 1), f.Linear(param(f, "u", 4, 4), h, None, None, 1))
		f.Output(y)
		b, err := Differentiate(f, []ID{f.Find(Input, "x")}, keep)
		if err != nil {
			t.Fatal(err)
		}
		norms := 0
		for _, n := range b.Graph.Nodes {
			if n.Op == RMSNorm {
				norms++
			}
		}
		if norms != want {
			t.Errorf("keep %v: %d norms, want %d", keep, norms, want)
		}
	}
}

func TestShapesAreChecked(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func(g *Graph)
		want  string
	}{
		{"linear", func(g *Graph) { g.Linear(weight(g, 5, 4), x(g, 6, 3), None, None, 1) },
			"weight takes 5 inputs, rows have 6"},
		{"bias", func(g *Graph) { g.Linear(weight(g, 5, 4), x(g, 5, 3), param(g, "b", 3, 1), None, 1) }, "bias has 3"},
		{"acc", func(g *Graph) { g.Linear(weight(g, 5, 4), x(g, 5, 3), None, x(g, 5, 3), 1) },
			"adds to [5 3] what is [4 3]"},
		{"slice", func(g *Graph) { g.Slice(x(g, 6, 3), 4, 4) }, "elements 4..8 of rows of 6"},
		{"norm", func(g *Graph) { g.RMSNorm(x(g, 6, 3), param(g, "w", 4, 1), 1) }, "rows of 6, weight of 4"},
		{"heads", func(g *Graph) {
			g.Attention(x(g, 6, 3), x(g, 6, 3), x(g, 6, 3), x(g, 6, 3), None, None,
				AttentionAttr{Heads: 3, KVHeads: 2, HeadDim: 2, Scale: 1})
		}, "3 heads over 2"},
		{"three dimensions", func(g *Graph) { g.Slice(deep(g), 0, 2) }, "takes two dimensions, not [3 2 2]"},
		{"no third dimension", func(g *Graph) { g.Bound(Value{Name: "x", Shape: Shape{3, 2}}) },
			"has the shape [3 2 0]"},
		{"no start", func(g *Graph) { g.emit(Node{Op: GELU, In: []ID{x(g, 6, 3)}, Acc: x(g, 6, 3)}) },
			"starts from no value"},
		{"more chosen than there are", func(g *Graph) { g.TopK(x(g, 4, 3), 5) }, "5 of 4 experts chosen"},
		{"experts", func(g *Graph) {
			of := g.Group(g.TopK(x(g, 4, 3), 2), 4)
			g.Experts(matrices(g, "w", 4, 5, 3), g.Gather(x(g, 4, 3), of), None, of, None, 1)
		}, "a weight of 3 experts, starts of 4"},
		{"rows of other choices", func(g *Graph) {
			of := g.Group(g.TopK(x(g, 4, 3), 2), 4)
			g.Combine(x(g, 4, 3), of, None)
		}, "3 rows, choices [2 3]"},
		{"rebound", func(g *Graph) { x(g, 6, 3); x(g, 6, 4) }, "bound as"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &Graph{}
			c.build(g)
			if err := g.Err(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got error %v, want one that says %q", err, c.want)
			}
		})
	}
}

// TestGradientIsAddedUp: a trained value that is read by an operation whose derivative does not add to it is refused,
// and not left without a gradient.
func TestGradientIsAddedUp(t *testing.T) {
	f := &Graph{}
	f.Output(f.SwiGLU(x(f, 4, 2), param(f, "u", 4, 2)))
	if _, err := Differentiate(f, nil, true); err == nil || !strings.Contains(err.Error(), `"u" is trained`) {
		t.Fatalf("got error %v, want one that names u", err)
	}
}

// TestNoDerivative: a graph whose gradient meets an operation that has no derivative is refused.
func TestNoDerivative(t *testing.T) {
	f := &Graph{}
	f.Output(f.emit(Node{Op: GELUBack, In: []ID{x(f, 4, 2), x(f, 4, 2)}, Acc: None})[0])
	if _, err := Differentiate(f, []ID{f.Find(Input, "x")}, true); err == nil ||
		!strings.Contains(err.Error(), "gelu_back has no derivative") {
		t.Fatalf("got error %v, want one that names gelu_back", err)
	}
}
