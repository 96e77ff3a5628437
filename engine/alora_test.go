package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/delta"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/internal/refmodel"
)

// aloraGradients bounds the distance of gradients from PEFT's, of the largest; measured 1e-6.
const aloraGradients = 2e-5

// TestActivatedLoRA: an adapter of PEFT's that acts from an invocation on computes here what it computes in
// transformers, gradients too, and what llama.cpp computes that reads what comes before without it.
func TestActivatedLoRA(t *testing.T) {
	cases, err := refmodel.Recordings()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(cases, func(c *refmodel.Recorded) bool { return c.Name == "llama" })
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := cases[i].Model.WriteGGUF(path); err != nil {
		t.Fatal(err)
	}
	var want struct {
		Tokens    []int32              `json:"tokens"`
		Since     int                  `json:"since"`
		LogP      []float64            `json:"logp"`
		Base      []float64            `json:"base"`
		Gradients map[string][]float64 `json:"gradients"`
	}
	if err := json.Unmarshal(readFile(t, "testdata/alora/recorded.json"), &want); err != nil {
		t.Fatal(err)
	}
	m, err := engine.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	a, err := adapter.Load("testdata/alora", m.Net())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(a.Invocation, want.Tokens[want.Since:want.Since+2]) {
		t.Fatalf("the invocation is %v, want the tokens from %d on of %v", a.Invocation, want.Since, want.Tokens)
	}
	r := alone(t, m, engine.Set{Adapter: a})
	row := chain(want.Tokens)
	row.Since = []int{want.Since}
	minus := make([]float32, len(row.Counted))
	for i := range minus {
		minus[i] = -1 / float32(len(minus))
	}
	logp, grads := r.pass(&engine.Batch{Rows: []engine.Row{row}}, minus)
	if e := farthest(float64s(logp), want.LogP); !(e <= exactLogP) {
		t.Errorf("log-probabilities differ from PEFT's by %.3g of the largest, want at most %g", e, exactLogP)
	}
	row.Since = nil // no invocation: the base
	if e := farthest(float64s(r.forward(&engine.Batch{Rows: []engine.Row{row}},
		engine.Options{})[engine.LogP]), want.Base); !(e <= exactLogP) {
		t.Errorf("without an invocation they differ from the base's by %.3g of the largest", e)
	}
	// PEFT's gradients, as an adapter: they lie as its numbers do.
	for name, g := range theirGradients(t, m, want.Gradients) {
		if e := farthest(float64s(grads[name]), g); !(e <= aloraGradients) {
			t.Errorf("%s: gradients differ from PEFT's by %.3g of the largest, want at most %g", name, e,
				aloraGradients)
		}
	}
	agreesFrom(t, r, a, want.Tokens, want.Since)
}

// theirGradients gives what PEFT has beside its names in the order of our file.
func theirGradients(t *testing.T, m *engine.Model, recorded map[string][]float64) map[string][]float64 {
	t.Helper()
	out := map[string][]float64{}
	m.Net().Linear(func(p arch.Part, il int) {
		module := "base_model.model." + m.Net().Hub().Module(p, il)
		for half, name := range map[string]string{delta.A: ".lora_A.default.weight",
			delta.B: ".lora_B.default.weight"} {
			g, ok := recorded[module+name]
			if !ok {
				continue
			}
			if half == delta.B {
				v := make([]float32, len(g))
				for i, x := range g {
					v[i] = float32(x)
				}
				g = float64s(arch.Paired(v, p.PairedHeads, 2))
			}
			out[p.Name(il)+"."+half] = g
		}
	})
	if len(out) != len(recorded) || len(out) == 0 {
		t.Fatalf("%d of %d recorded gradients have a place", len(out), len(recorded))
	}
	return out
}

// agreesFrom has llama.cpp read the tokens before since without the adapter, and the others with it.
func agreesFrom(t *testing.T, r *rig, a *adapter.Adapter, tokens []int32, since int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "adapter.gguf")
	if err := a.Save(context.Background(), nil, file); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, 1, since, len(tokens) - 1} {
		p, err := verify.NewProbe(context.Background(), r.Session, tokens, at)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.VerifyAdapter(context.Background(), r.model.Path(), file, 1); err != nil {
			t.Errorf("from token %d on: %v", at, err)
		}
		p.Since = (at + len(tokens)/2) % len(tokens)
		if _, err := p.VerifyAdapter(context.Background(), r.model.Path(), file, 1); err == nil {
			t.Errorf("from token %d on: llama.cpp agrees too where it applies the adapter from %d on", at, p.Since)
		}
	}
}

// late is a list of deltas that wait for an invocation.
type late struct{ fixed }

func (l late) Deltas() []delta.Placed {
	out := slices.Clone(l.fixed)
	for i := range out {
		out[i].Late = true
	}
	return out
}

// TestLateDeltas: in a tree and beside other rows, joined and under dropout, what waits for an invocation has the
// gradients that finite differences give, and changes nothing of what comes before.
func TestLateDeltas(t *testing.T) {
	spec := synth.Tiny("llama", gguf.F32)
	m, err := engine.Open(synth.Temp(t, spec))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	pair := slices.DeleteFunc(everywhere(m, delta.LoRA{Rank: 4, Scale: 0.5}),
		func(p delta.Placed) bool { return p.Tensor == "output.weight" })
	pair = append(pair, everywhere(m, delta.LoRARows{Rank: 4, Scale: 0.5})...)
	row, _ := tree(spec.Vocab)
	row.Since = []int{6, 0, 2, 4} // in the prompt; at once; later; not at all
	other := chain(tokens(8, 13, spec.Vocab))
	for _, dropout := range []float64{0, 0.25} {
		t.Run(fmt.Sprintf("dropout %g", dropout), func(t *testing.T) {
			r := alone(t, m, engine.Set{Adapter: late{pair}, Dropout: dropout})
			b := batch(row, other)
			logp, grads := r.pass(b, nil)
			for _, p := range r.Params() {
				r.checkDirection(b, p, grads[p.Name])
			}
			base := r.forward(b, engine.Options{Apply: engine.Only()})[engine.LogP]
			n := len(row.Counted)
			if !slices.Equal(logp[n:], base[n:]) {
				t.Error("a row without an invocation is not computed as by the base")
			}
			if slices.Equal(logp[:n], base[:n]) {
				t.Error("a row with an invocation is computed as by the base")
			}
		})
	}
	all := alone(t, m, engine.Set{Adapter: pair})
	first := alone(t, m, engine.Set{Adapter: late{pair}})
	b := batch(row, other)
	want, wantGrads := all.pass(b, nil)
	b.Rows[0].Since, b.Rows[1].Since = []int{0, 0, 0, 0}, []int{0}
	got, grads := first.pass(b, nil)
	if !slices.Equal(got, want) {
		t.Error("from the first token on is not everywhere")
	}
	for name, g := range wantGrads {
		if !slices.Equal(grads[name], g) {
			t.Errorf("%s: other gradients from the first token on than everywhere", name)
		}
	}
}

// TestLateDeltasRefused: what cannot be computed is named.
func TestLateDeltasRefused(t *testing.T) {
	spec := synth.Tiny("llama", gguf.F32)
	m, err := engine.Open(synth.Temp(t, spec))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	head := everywhere(m, delta.LoRA{Rank: 4, Scale: 0.5})
	_, err = engine.NewSession(m, engine.SessionConfig{Threads: 1, Sets: []engine.Set{{Adapter: late{head}}}})
	if err == nil || !strings.Contains(err.Error(), `"output.weight" acts only from an invocation on`) {
		t.Errorf("got error %v, want one that names output.weight", err)
	}
	s, err := engine.NewSession(m, engine.SessionConfig{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	row := chain(tokens(8, 13, spec.Vocab))
	row.Since = []int{1, 2}
	_, err = s.Forward(context.Background(), batch(row), engine.Options{})
	if err == nil || !strings.Contains(err.Error(), "1 segments, and of 2") {
		t.Errorf("got error %v, want one that counts segments", err)
	}
}

// TestLatePlan: what waits for an invocation takes its marks beside what it takes anyway.
func TestLatePlan(t *testing.T) {
	spec := synth.Tiny("llama", gguf.F32)
	m, err := engine.Open(synth.Temp(t, spec))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	pair := slices.DeleteFunc(everywhere(m, delta.LoRA{Rank: 4, Scale: 0.5}),
		func(p delta.Placed) bool { return p.Tensor == "output.weight" })
	of := func(d engine.Deltas) int64 {
		f, err := engine.Plan(m, engine.SessionConfig{Threads: 1, Sets: []engine.Set{{Adapter: d}}},
			engine.Extent{Tokens: 64, Counted: 32, Row: 64})
		if err != nil {
			t.Fatal(err)
		}
		return f.Total()
	}
	if more := of(late{pair}) - of(pair); more < 4*64 || more > 1<<16 {
		t.Errorf("the marks of 64 tokens take %d bytes", more)
	}
}
