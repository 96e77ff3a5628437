package engine

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
	"github.com/ggtune/ggtune/engine/synth"
)

// outputSession trains an adapter whose B is off zero on a tiny model, and takes a row of two segments.
func outputSession(t *testing.T) (*Session, *Batch) {
	t.Helper()
	m, err := Open(synth.Temp(t, synth.Tiny("llama", gguf.F32)))
	if err != nil {
		t.Fatal(err)
	}
	a, err := adapter.New(m.Net(), adapter.Config{Rank: 4, Alpha: 8, Init: "kaiming", Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 3))
	for i := range a.Pairs {
		for j := range a.Pairs[i].B {
			a.Pairs[i].B[j] = float32(r.NormFloat64() * 0.05)
		}
	}
	head := Head{Role: ValueHead, Shape: []int64{int64(m.HParams().NEmbd), 1}}
	for range head.Shape[0] {
		head.Values = append(head.Values, float32(r.NormFloat64()))
	}
	s, err := NewSession(m, SessionConfig{Threads: 1, Exact: true,
		Sets: []Set{{Adapter: a}, {Name: "value", Heads: []Head{head}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		m.Close()
	})
	row := Row{Segments: []Segment{{Len: 7, Parent: -1}, {Start: 7, Len: 5}}, Counted: []int32{2, 3, 7, 11},
		Valued: []int32{0, 6, 7, 11},
		Named:  []int32{3, 0, 5, 1, 2, 3, 9, 8, 7, 6, 4, 2},
		Pooled: []int32{0, 1}}
	for range 12 {
		row.Tokens = append(row.Tokens, int32(r.IntN(m.HParams().NVocab)))
	}
	return s, &Batch{Rows: []Row{row}}
}

// hidden gives what the output head takes, and needs no head.
var hidden = &Output{
	Name:  "hidden",
	of:    countedTokens,
	width: func(r *request) int64 { return int64(r.hp.NEmbd) },
	build: func(t *top) graph.ID { return t.rows(arch.InputSources) },
}

// factors are made up derivatives of a loss.
func factors(out Outputs) Outputs {
	grad := Outputs{}
	for o, v := range out {
		r := rand.New(rand.NewPCG(uint64(len(o.Name)), 1))
		for range v {
			grad[o] = append(grad[o], float32(r.NormFloat64()))
		}
	}
	return grad
}

// gradients runs a pass both ways and gives every gradient, one after the other.
func gradients(t *testing.T, s *Session, b *Batch, want ...*Output) []float32 {
	t.Helper()
	if err := s.ZeroGrad(); err != nil {
		t.Fatal(err)
	}
	out, err := s.Forward(context.Background(), b, Options{Want: want, Backward: true, Pooling: arch.PoolMean})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Backward(context.Background(), factors(out), nil); err != nil {
		t.Fatal(err)
	}
	var all []float32
	for _, p := range s.Params() {
		g, err := p.Grad.All()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, g...)
	}
	return all
}

// TestOutputConformance: every kind gives width finite numbers for each thing, and either refuses to begin a backward
// pass or gives gradients that finite differences confirm.
func TestOutputConformance(t *testing.T) {
	for _, o := range append(OutputKinds(), hidden) {
		t.Run(o.Name, func(t *testing.T) {
			s, b := outputSession(t)
			ctx := context.Background()
			opt := Options{Want: []*Output{o}, Top: 3, Pooling: arch.PoolMean}
			out, err := s.Forward(ctx, b, opt)
			if err != nil {
				t.Fatal(err)
			}
			idx, err := s.flatten(b, &opt)
			if err != nil {
				t.Fatal(err)
			}
			n, width := len(out[o]), o.width(&request{hp: s.model.HParams(), opt: &opt, x: idx})
			if n != len(idx[o.of.names[0]])*int(width) || n == 0 || len(out) != 1 {
				t.Errorf("%d numbers of %d kinds, width %d", n, len(out), width)
			}
			for _, x := range out[o] {
				if x-x != 0 {
					t.Fatalf("gives %v", x)
				}
			}
			if o.ends {
				if _, err := s.Forward(ctx, b, Options{Want: []*Output{o}, Top: 3, Backward: true}); err == nil {
					t.Error("begins a backward pass")
				}
				return
			}
			outputSlope(t, s, b, o)
		})
	}
}

// outputSlope moves parameters along their gradients, both ways.
func outputSlope(t *testing.T, s *Session, b *Batch, o *Output) {
	t.Helper()
	gradients(t, s, b, o)
	moveAlong(t, s, b, o, s.Params()[1])
	if o == Value {
		moveAlong(t, s, b, o, s.byName["value/value.weight"])
	}
}

func moveAlong(t *testing.T, s *Session, b *Batch, o *Output, p *Param) {
	t.Helper()
	was, err := p.Value.All()
	if err != nil {
		t.Fatal(err)
	}
	grad, err := p.Grad.All()
	if err != nil {
		t.Fatal(err)
	}
	norm := 0.0
	for _, g := range grad {
		norm += float64(g) * float64(g)
	}
	norm = math.Sqrt(norm)
	const step = 1e-2
	var loss [2]float64
	for k, sign := range []float64{1, -1} {
		moved := slices.Clone(was)
		for i, g := range grad {
			moved[i] += float32(sign * step * float64(g) / norm)
		}
		if err := p.Value.Upload(moved, 0); err != nil {
			t.Fatal(err)
		}
		out, err := s.Forward(context.Background(), b, Options{Want: []*Output{o}, Pooling: arch.PoolMean})
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range factors(out)[o] {
			loss[k] += float64(c) * float64(out[o][i])
		}
	}
	if err := p.Value.Upload(was, 0); err != nil {
		t.Fatal(err)
	}
	const tol = 1e-2 // measured 1e-3
	if got := (loss[0] - loss[1]) / (2 * step); !(math.Abs(got-norm) <= tol*norm) {
		t.Errorf("slope along the gradient of %s: %g, finite difference %g", p.Name, norm, got)
	}
}

// TestSeveralOutputs: outputs asked for at once are those asked for one by one, and gradients those of their sum.
// What needs no output head has none.
func TestSeveralOutputs(t *testing.T) {
	s, b := outputSession(t)
	logp, head := gradients(t, s, b, LogP), gradients(t, s, b, hidden)
	both := gradients(t, s, b, hidden, LogP)
	const tol = 1e-5 // of the largest, for sums in another order; measured 1e-7
	largest, worst := 0.0, 0.0
	for i := range both {
		sum := float64(logp[i]) + float64(head[i])
		largest, worst = max(largest, math.Abs(sum)), max(worst, math.Abs(sum-float64(both[i])))
	}
	if largest == 0 || !(worst <= tol*largest) {
		t.Errorf("gradients differ by %g, the largest is %g", worst, largest)
	}
	if err := s.Backward(context.Background(), Outputs{LogP: nil}, nil); err == nil {
		t.Error("a backward pass without a forward pass")
	}
	if _, err := s.Forward(context.Background(), b, Options{Want: []*Output{hidden, LogP},
		Backward: true}); err != nil {
		t.Fatal(err)
	}
	for name, g := range map[string]Outputs{
		"one of two":   {LogP: make([]float32, 4)},
		"another kind": {LogP: make([]float32, 4), hidden: make([]float32, 4*s.model.HParams().NEmbd), Logits: nil},
	} {
		if err := s.Backward(context.Background(), g, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	found, four := 0, make([]int32, 4)
	asks := &request{x: indices{arch.InputTargets: four, arch.InputSources: four}}
	for key, st := range s.stages {
		if key.want != (want{{Output: hidden, request: asks, n: 4, count: int64(4 * s.model.HParams().NEmbd)}}).key() {
			continue
		}
		found++
		if st.forward.Graph().Find(graph.Weight, "output.weight") != graph.None {
			t.Error("a pass that wants nothing of the output head has one")
		}
	}
	if found != 1 {
		t.Errorf("%d last stages without a head, want 1", found)
	}
}

// TestHeadIsBroughtUpToDate: a head's numbers are the caller's until they are asked for.
func TestHeadIsBroughtUpToDate(t *testing.T) {
	s, _ := outputSession(t)
	p := s.byName["value/value.weight"]
	if err := p.Value.Upload([]float32{42}, 0); err != nil {
		t.Fatal(err)
	}
	h := s.cfg.Sets[1].Heads[0]
	if h.Values[0] == 42 {
		t.Error("the session writes into the head it was given, unasked")
	}
	set, err := s.Set("value")
	if err != nil || set.Heads[0].Values[0] != 42 || h.Values[0] != 42 {
		t.Errorf("got %v, %v, want the trained number", set.Heads[0].Values[0], err)
	}
}

// TestOneHead: log-probability and entropy come from one pass over the vocabulary, and say what they say alone.
func TestOneHead(t *testing.T) {
	s, b := outputSession(t)
	forward := func(temp float64, want ...*Output) Outputs {
		t.Helper()
		out, err := s.Forward(context.Background(), b, Options{Want: want, Temp: temp})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	both := forward(0.5, LogP, Entropy)
	if !slices.Equal(both[LogP], forward(0.5, LogP)[LogP]) ||
		!slices.Equal(both[Entropy], forward(0.5, Entropy)[Entropy]) {
		t.Error("asked for together, they are not what they are alone")
	}
	heads := 0
	for _, n := range finalGraph(t, s, b, LogP, Entropy).Nodes {
		if n.Op == graph.Head {
			heads++
		}
	}
	if heads != 1 {
		t.Errorf("the output head is there %d times", heads)
	}
	logits, vocab := forward(0, Logits)[Logits], s.model.HParams().NVocab
	const tol = 2e-5 // measured 2e-6
	for i, at := range b.Rows[0].Counted {
		cooled := slices.Clone(logits[i*vocab : (i+1)*vocab])
		for v := range cooled {
			cooled[v] *= 2
		}
		lp, h := logSoftmax(cooled), 0.0
		for _, x := range lp {
			h -= math.Exp(x) * x
		}
		if got, want := float64(both[LogP][i]), lp[b.Rows[0].Tokens[at]]; !(math.Abs(got-want) <= tol) {
			t.Errorf("counted token %d: log-probability %v, want %v", i, got, want)
		}
		if got := float64(both[Entropy][i]); !(math.Abs(got-h) <= tol) {
			t.Errorf("counted token %d: entropy %v, want %v", i, got, h)
		}
	}
	if !slices.Equal(forward(0, LogP, Named, Entropy)[Named], forward(1, Named)[Named]) {
		t.Error("a temperature of 0 is not 1")
	}
	for _, temp := range []float64{-1, math.NaN(), math.Inf(1), 1e-7} {
		_, err := s.Forward(context.Background(), b, Options{Temp: temp})
		if err == nil || !strings.Contains(err.Error(), "temperature") {
			t.Errorf("temperature %g: %v", temp, err)
		}
	}
}

// finalGraph is that of the last stage of a pass.
func finalGraph(t *testing.T, s *Session, b *Batch, want ...*Output) *graph.Graph {
	t.Helper()
	p, err := s.newPass(b, Options{Want: want})
	if err != nil {
		t.Fatal(err)
	}
	return p.final.forward.Graph()
}
