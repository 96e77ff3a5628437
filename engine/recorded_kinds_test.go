package engine_test

import (
	"encoding/json"
	"math"
	"slices"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/delta"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
	"github.com/ggtune/ggtune/engine/synth"
)

// A kindsRecording is what PEFT computed with a layer and each kind of adapter beside it
// (scripts/record_peft_kinds.py).
type kindsRecording struct {
	In, Out, Tokens, Rank int64
	Alpha                 float64
	Weight, Bias, X, DY   []float64
	Kinds                 map[string]kindRecording
}

type kindRecording struct {
	Begin, Values, Grads map[string][]float64
	Y, DX, Merged        []float64
	MergedBias           []float64 `json:"merged_bias"`
}

// TestRecordedKinds: each kind begins as PEFT's does, and with the same numbers gives the same output, gradients and
// merged weights.
func TestRecordedKinds(t *testing.T) {
	var all kindsRecording
	if err := json.Unmarshal(readFile(t, "testdata/peft_kinds.json"), &all); err != nil {
		t.Fatal(err)
	}
	for _, kind := range adapter.Kinds() {
		if kind == adapter.LoRA { // see TestPEFT
			continue
		}
		r, ok := all.Kinds[kind.String()]
		if !ok {
			t.Errorf("nothing is recorded of %s", kind)
			continue
		}
		t.Run(kind.String(), func(t *testing.T) {
			a := all.adapter(kind)
			all.checkBegin(t, a, r)
			fillKind(a, r.Values)
			if kind == adapter.DoRA {
				copy(a.Pairs[0].More[1], all.norms())
			}
			all.checkPass(t, a, r)
			all.checkMerged(t, a, r)
		})
	}
}

// adapter is one of a kind beside the layer, with zeros.
func (k *kindsRecording) adapter(kind adapter.Kind) *adapter.Adapter {
	a := &adapter.Adapter{Kind: kind, Alpha: k.Alpha}
	p := adapter.Pair{Tensor: "attn_q.weight", Role: arch.AttnQ, Rank: k.Rank, AShape: [2]int64{k.In, k.Rank},
		BShape: [2]int64{k.Rank, k.Out}}
	a.Pairs = []adapter.Pair{p}
	for i, q := range a.Deltas()[0].Params(graph.Matrix(k.In, k.Out)) {
		x := make([]float32, q.Shape.Elements())
		switch {
		case kind.Paired() && i == 0:
			a.Pairs[0].A = x
		case kind.Paired() && i == 1:
			a.Pairs[0].B = x
		default:
			a.Pairs[0].More = append(a.Pairs[0].More, x)
		}
	}
	return a
}

// fillKind gives an adapter's parameters numbers, by name.
func fillKind(a *adapter.Adapter, values map[string][]float64) {
	d := a.Deltas()[0]
	for i, q := range d.Params(d.Weight) {
		for j, v := range values[q.Name] {
			d.Values[i][j] = float32(v)
		}
	}
}

// norms are those of the weight's rows.
func (k *kindsRecording) norms() (out []float32) {
	for row := range slices.Chunk(k.Weight, int(k.In)) {
		sum := 0.0
		for _, v := range row {
			sum += v * v
		}
		out = append(out, float32(math.Sqrt(sum)))
	}
	return out
}

// checkBegin compares what an adapter begins with that is not drawn by chance; of random matrices their bounds.
func (k *kindsRecording) checkBegin(t *testing.T, a *adapter.Adapter, r kindRecording) {
	t.Helper()
	fresh := freshKind(t, a.Kind, k)
	for name, want := range r.Begin {
		switch got := fresh[name]; name {
		case delta.A, delta.VeraA, delta.VeraB:
			bound := 0.0
			for _, v := range want {
				bound = max(bound, math.Abs(v))
			}
			most := 0.0
			for _, v := range got {
				most = max(most, math.Abs(float64(v)))
			}
			if !(most > 0.8*bound && most < 1.25*bound) { // of as many draws
				t.Errorf("%s begins within ±%.3g, PEFT's within ±%.3g", name, most, bound)
			}
		case delta.Magnitude:
			if err := a.Magnitudes(func(string) ([]float32, error) { return k.norms(), nil }, true,
				func(int, int) {}); err != nil {
				t.Fatal(err)
			}
			closeTo(t, name, float64s(a.Pairs[0].More[0]), want)
		default:
			for _, v := range got {
				if len(got) == 0 || v != float32(want[0]) {
					t.Errorf("%s begins as %v, PEFT's as %v", name, v, want[0])
					break
				}
			}
		}
	}
}

// checkPass runs the layer forward and back.
func (k *kindsRecording) checkPass(t *testing.T, a *adapter.Adapter, r kindRecording) {
	t.Helper()
	m := newMachine(t)
	place := a.Deltas()[0]
	b := &arch.Builder{G: &graph.Graph{}, T: k.Tokens, HP: arch.HParams{NEmbd: int(k.In)},
		Sets: []arch.Set{func(arch.Role) (delta.Use, bool) { return delta.Use{Delta: place.Delta}, true }},
		Tensor: func(_ arch.Role, suffix string) (arch.Tensor, bool) {
			if suffix == ".bias" {
				return arch.Tensor{Shape: graph.Matrix(k.Out, 1), Own: true, Frozen: true}, true
			}
			return arch.Tensor{Shape: graph.Matrix(k.In, k.Out), Own: true, Frozen: true}, true
		}}
	b.G.Output(b.Linear(arch.AttnQ, b.Input(), graph.None))
	if b.G.Err() != nil {
		t.Fatal(b.G.Err())
	}
	m.set("x", k.X)
	m.set("attn_q.weight", k.Weight)
	m.set("attn_q.bias", k.Bias)
	m.set(graph.GradName(0), k.DY)
	params := place.Params(place.Weight)
	for i, p := range params {
		m.set("attn_q.weight."+p.Name, float64s(place.Values[i]))
	}
	closeTo(t, "output", m.run(b.G)[0], r.Y)
	bw, err := graph.Differentiate(b.G, []graph.ID{b.G.Find(graph.Input, "x")}, false)
	if err != nil {
		t.Fatal(err)
	}
	closeTo(t, "gradient of x", m.run(bw.Graph)[0], r.DX)
	for _, p := range params {
		name := "attn_q.weight." + p.Name
		want, trained := r.Grads[p.Name]
		if trained == p.Fixed {
			t.Errorf("%s is trained: %v, by PEFT %v", p.Name, !p.Fixed, trained)
		}
		if trained {
			closeTo(t, "gradient of "+name, m.read(m.grads[name], len(want)), want)
		}
	}
}

// set gives a value numbers, and a gradient of 0.
func (m *machine) set(name string, x []float64) {
	m.grads[name] = m.alloc(int64(len(x)))
	m.random(name, len(x))
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(v)
	}
	if err := (backend.Floats{Backend: m.b, At: m.places[name], N: int64(len(y))}).Upload(y, 0); err != nil {
		m.t.Fatal(err)
	}
}

// checkMerged adds the adapter to the layer's weight and bias.
func (k *kindsRecording) checkMerged(t *testing.T, a *adapter.Adapter, r kindRecording) {
	t.Helper()
	sum, err := adapter.NewSum(adapter.Scaled{Adapter: a.Leaving(), Scale: 1})
	if err != nil {
		t.Fatal(err)
	}
	merged := func(name string, x []float64, width int64) []float64 {
		y := make([]float32, len(x))
		for i, v := range x {
			y[i] = float32(v)
		}
		if sum.Changes(name) {
			sum.AddTo(name, 0, y, width)
		}
		return float64s(y)
	}
	closeTo(t, "merged weight", merged("attn_q.weight", k.Weight, k.In), r.Merged)
	closeTo(t, "merged bias", merged("attn_q.bias", k.Bias, k.Out), r.MergedBias)
}

// freshKind gives the numbers of an adapter as New makes it beside a matrix of the recording's shape, by name.
func freshKind(t *testing.T, kind adapter.Kind, k *kindsRecording) map[string][]float32 {
	t.Helper()
	spec := synth.Tiny("llama", gguf.F32)
	m, err := engine.Open(synth.Temp(t, spec))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a, err := adapter.New(m.Net(), adapter.Config{Kind: kind, Rank: int(k.Rank), Alpha: k.Alpha, Init: "kaiming",
		Targets: []string{"attn_q"}})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]float32{}
	d := a.Deltas()[0]
	for i, q := range d.Params(d.Weight) {
		out[q.Name] = d.Values[i]
		// Bounds go with the root of the inputs.
		if q.Name == delta.A || q.Name == delta.VeraA {
			for j := range d.Values[i] {
				out[q.Name][j] *= float32(math.Sqrt(float64(d.Weight[0]) / float64(k.In)))
			}
		}
	}
	return out
}
