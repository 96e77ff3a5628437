package engine_test

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/internal/refmodel"
)

// Tolerances of the exact mode against a float64 reference: what f32 arithmetic costs, with room for other machines.
const (
	exactLogP   = 5e-6 // of the largest log-probability; measured 5.8e-7
	exactNorm   = 2e-5 // of the gradient's norm; measured 3e-6
	exactCosine = 1e-9 // 1 − cosine; measured 9e-12
	// exactZero is what float64 makes of a gradient that is zero, of the largest one's norm; measured 1e-16.
	exactZero = 1e-13
	// A probe of a recorded digest sees the whole difference vector; transformers' own rounding is part of it.
	exactDigest = 2e-5 // measured 3.6e-6
)

// A trial is a session and the reference of the same model.
type trial struct {
	session *engine.Session
	model   *refmodel.Model
}

// newTrial opens a session that trains m's LoRA pairs, or all of its weights where it has none, over m written to a
// file.
func newTrial(t *testing.T, m *refmodel.Model, cfg engine.SessionConfig) *trial {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := m.WriteGGUF(path); err != nil {
		t.Fatal(err)
	}
	return openTrial(t, path, m, cfg)
}

// openTrial is newTrial over a file that holds m.
func openTrial(t *testing.T, path string, m *refmodel.Model, cfg engine.SessionConfig) *trial {
	t.Helper()
	em, err := engine.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { em.Close() })
	if len(m.LoRA) > 0 {
		cfg.Sets = []engine.Set{{Adapter: adapterOf(t, m)}}
	} else {
		cfg.Sets = []engine.Set{{Whole: engine.Everything}}
	}
	if m.Value != nil {
		w, err := refmodel.Float32s(m.Value.Data)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Sets[0].Heads = []engine.Head{{Role: engine.ValueHead, Shape: []int64{int64(m.NEmbd), 1}, Values: w}}
	}
	s, err := engine.NewSession(em, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &trial{session: s, model: m}
}

// adapterOf gives the model's LoRA pairs as the engine holds them.
func adapterOf(t *testing.T, m *refmodel.Model) *adapter.Adapter {
	t.Helper()
	a := &adapter.Adapter{Arch: m.Arch}
	list, err := refmodel.Tensors(m.Arch, m.HParams)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range list {
		p, ok := m.LoRA[w.Name]
		if !ok {
			continue
		}
		pair := adapter.Pair{Tensor: w.Name, Layer: -1, Rank: int64(p.B.Cols), Flipped: w.Name == "token_embd.weight",
			AShape: [2]int64{int64(p.A.Cols), int64(p.A.Rows / max(w.Experts, 1))},
			BShape: [2]int64{int64(p.B.Cols), int64(p.B.Rows / max(w.Experts, 1))}}
		if w.Experts > 1 {
			pair.Experts = int64(w.Experts)
		}
		role := strings.TrimSuffix(w.Name, ".weight")
		if parts := strings.Split(role, "."); len(parts) == 3 {
			role = parts[2]
			if pair.Layer, err = strconv.Atoi(parts[1]); err != nil {
				t.Fatal(err)
			}
		}
		pair.Role = arch.Role(role)
		if pair.A, err = refmodel.Float32s(p.A.Data); err != nil {
			t.Fatal(err)
		}
		if pair.B, err = refmodel.Float32s(p.B.Data); err != nil {
			t.Fatal(err)
		}
		a.Alpha = p.Scale * float64(pair.Rank)
		a.Pairs = append(a.Pairs, pair)
	}
	return a
}

// engineRow gives a reference row as the engine takes it.
func engineRow(r refmodel.Row) engine.Row {
	out := engine.Row{Tokens: r.Tokens, Counted: r.Counted, Valued: r.Valued, Pooled: r.Pooled}
	for _, s := range r.Segments {
		out.Segments = append(out.Segments, engine.Segment{Start: s.Start, Len: s.Len, Parent: s.Parent})
	}
	return out
}

// run goes forward and backward with one gradient for each number that the model says; gradients are added to those
// that are there.
func (r *trial) run(t *testing.T, rows []refmodel.Row, d []float64) []float64 {
	t.Helper()
	b := &engine.Batch{}
	for _, row := range rows {
		b.Rows = append(b.Rows, engineRow(row))
	}
	out, err := r.session.Forward(context.Background(), b, engine.Options{Backward: true})
	if err != nil {
		t.Fatal(err)
	}
	says := r.session.Model().Says()
	if err := r.session.Backward(context.Background(), engine.Outputs{says: float32s(d)}, nil); err != nil {
		t.Fatal(err)
	}
	return float64s(out[says])
}

// gradients gives the session's, by name.
func (r *trial) gradients(t *testing.T) map[string][]float64 {
	out := map[string][]float64{}
	for _, p := range r.session.Params() {
		out[p.Name] = float64s(numbers(t, p.Grad))
	}
	return out
}

// An expectation is what the reference makes of rows, its gradients by lossWeights.
type expectation struct {
	logp  []float64
	grads refmodel.Gradients
}

// referenceOf runs the rows through the reference.
func referenceOf(t *testing.T, m *refmodel.Model, rows []refmodel.Row) expectation {
	t.Helper()
	out, d := expectation{grads: refmodel.Gradients{}}, lossWeights(counted(rows))
	for _, row := range rows {
		p, err := m.Forward(row)
		if err != nil {
			t.Fatal(err)
		}
		g, err := p.Backward(d[:len(p.LogP)])
		if err != nil {
			t.Fatal(err)
		}
		d = d[len(p.LogP):]
		out.logp = append(out.logp, p.LogP...)
		out.grads.Add(g)
	}
	return out
}

// A closeness is how near the engine must come to the reference.
type closeness struct{ logp, norm, cosine float64 }

var exact = closeness{exactLogP, exactNorm, exactCosine}

// check runs rows through both and compares every output and the gradient of every trained tensor.
func (r *trial) check(t *testing.T, rows []refmodel.Row, c closeness) {
	t.Helper()
	if r.session.Model().Says() == engine.Pooled {
		for _, row := range rows {
			r.checkVectors(t, row, c)
		}
		return
	}
	r.compare(t, rows, referenceOf(t, r.model, rows), c)
}

// compare is check against what the reference has made of the rows.
func (r *trial) compare(t *testing.T, rows []refmodel.Row, want expectation, c closeness) {
	t.Helper()
	if err := r.session.ZeroGrad(); err != nil {
		t.Fatal(err)
	}
	got := farthest(r.run(t, rows, lossWeights(counted(rows))), want.logp)
	if !(got <= c.logp) {
		t.Errorf("log-probabilities differ by %.3g of the largest, want at most %.3g", got, c.logp)
	}
	t.Logf("log-probabilities within %.2g", got)
	r.checkGradients(t, want.grads, c)
}

// checkGradients compares the gradient of every trained tensor.
func (r *trial) checkGradients(t *testing.T, want refmodel.Gradients, c closeness) {
	t.Helper()
	got := r.gradients(t)
	r.complete(t, got)
	var worst closeness
	largest := 0.0
	for name := range got {
		largest = max(largest, euclid(want[name].Data))
	}
	for name, g := range got {
		if euclid(want[name].Data) <= exactZero*largest && euclid(g) <= c.norm*largest {
			continue // it changes nothing, and both have rounding alone
		}
		norm, cosine := apart(g, want[name].Data)
		if !(norm <= c.norm) || !(cosine <= c.cosine) {
			t.Errorf("gradient of %s: relative difference of norms %.3g, 1-cosine %.3g; want at most %.3g and %.3g",
				name, norm, cosine, c.norm, c.cosine)
		}
		worst.norm, worst.cosine = max(worst.norm, norm), max(worst.cosine, cosine)
	}
	t.Logf("%d gradients: norms %.2g, 1-cosine %.2g", len(got), worst.norm, worst.cosine)
}

// euclid is the norm of a vector.
func euclid(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	return math.Sqrt(sum)
}

// checkVectors is check of a model that gives vectors: of all texts of a row, their mean.
func (r *trial) checkVectors(t *testing.T, row refmodel.Row, c closeness) {
	t.Helper()
	r.checkOutputs(t, vectors(row), []*engine.Output{engine.Pooled}, c)
}

// vectors is a row of which nothing but vectors is asked for.
func vectors(row refmodel.Row) refmodel.Row {
	row.Counted, row.Valued, row.Pooled, row.Pooling = nil, nil, nil, "mean"
	for i := range row.Segments {
		row.Pooled = append(row.Pooled, int32(i))
	}
	return row
}

// complete checks that the session trains exactly what the trial asked for.
func (r *trial) complete(t *testing.T, got map[string][]float64) {
	t.Helper()
	n := 2 * len(r.model.LoRA)
	for name := range r.model.Weights {
		fixed := strings.HasPrefix(name, "rope_") || strings.HasSuffix(name, "layer_output_scale.weight")
		if len(r.model.LoRA) == 0 && !fixed {
			n++
			if _, ok := got[name]; !ok {
				t.Errorf("%s is not trained", name)
			}
		}
	}
	for name := range r.model.LoRA {
		for _, half := range []string{".lora_a", ".lora_b"} {
			if _, ok := got[name+half]; !ok {
				t.Errorf("%s is not trained", name+half)
			}
		}
	}
	if r.model.Value != nil {
		n++
	}
	if len(got) != n {
		t.Errorf("%d tensors are trained, want %d", len(got), n)
	}
}

// apart gives the relative difference of norms, and 1 − cosine; of zeros nothing.
func apart(got, want []float64) (norm, cosine float64) {
	if len(got) != len(want) {
		return math.Inf(1), math.Inf(1)
	}
	var gg, ww, gw float64
	for i := range got {
		gg, ww, gw = gg+got[i]*got[i], ww+want[i]*want[i], gw+got[i]*want[i]
	}
	if gg == 0 && ww == 0 {
		return 0, 0
	}
	return math.Abs(math.Sqrt(gg)-math.Sqrt(ww)) / math.Sqrt(ww), 1 - gw/math.Sqrt(gg*ww)
}

// farthest gives the greatest difference relative to the largest number of want.
func farthest(got, want []float64) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	worst, size := 0.0, 0.0
	for i := range want {
		d := math.Abs(got[i] - want[i])
		if math.IsNaN(d) {
			return math.Inf(1)
		}
		worst, size = max(worst, d), max(size, math.Abs(want[i]))
	}
	return worst / size
}

func float64s(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

// lossWeights are gradients of unlike size and sign.
func lossWeights(n int) []float64 {
	w := make([]float64, n)
	for i := range w {
		w[i] = refmodel.Formula("loss", i, 0, 0)
	}
	return w
}

// TestRecorded holds the exact mode against what PyTorch computed.
func TestRecorded(t *testing.T) {
	cases, err := refmodel.Recordings()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		for name, m := range map[string]*refmodel.Model{"adapter": c.Adapted(), "full": c.Model} {
			want := c.Full
			if name == "adapter" {
				want = c.Adapt
			}
			t.Run(c.Name+"/"+name, func(t *testing.T) {
				r := newTrial(t, m, engine.SessionConfig{Threads: 1, Exact: true})
				says := r.run(t, []refmodel.Row{c.Row}, want.DSays())
				if e := farthest(says, want.Says()); !(e <= exactLogP) {
					t.Errorf("what it says differs by %.3g of the largest, want at most %.3g", e, exactLogP)
				}
				got := r.gradients(t)
				r.complete(t, got)
				worst, largest := 0.0, 0.0
				for _, d := range want.Grads {
					largest = max(largest, d.Norm)
				}
				for name, g := range got {
					if want.Grads[name].Nothing(largest) && euclid(g) <= exactNorm*largest {
						continue
					}
					e := want.Grads[name].Difference(g)
					if !(e <= exactDigest) {
						t.Errorf("gradient of %s differs by %.3g of its norm, want at most %.3g", name, e, exactDigest)
					}
					worst = max(worst, e)
				}
				t.Logf("%d gradients, worst difference %.2g", len(got), worst)
			})
		}
	}
}

// A size is a tiny model of an awkward size.
type size struct {
	arch string
	refmodel.Example
}

// sizes are the examples of every architecture that can be trained: one without a reference is a fault.
func sizes(t *testing.T) []size {
	t.Helper()
	var out []size
	for _, a := range refmodel.Architectures() {
		for _, e := range a.Examples {
			out = append(out, size{a.Name, e})
		}
	}
	for _, name := range arch.Names() {
		if !slices.ContainsFunc(out, func(s size) bool { return s.arch == name }) {
			t.Errorf("architecture %q has no example in the reference to be compared with", name)
		}
	}
	return out
}

// sizeOf finds an example by its name.
func sizeOf(t *testing.T, name string) size {
	t.Helper()
	all := sizes(t)
	i := slices.IndexFunc(all, func(s size) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("no example %q", name)
	}
	return all[i]
}

// models gives a size's model for full training, and with LoRA pairs of an odd rank.
func (s size) models(t *testing.T) map[string]*refmodel.Model {
	t.Helper()
	m, err := refmodel.Generate(s.arch, s.HParams, 3, s.Optional)
	if err != nil {
		t.Fatal(err)
	}
	adapted, err := m.WithPairs(5, 0.5)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*refmodel.Model{"full": m, "adapter": adapted}
}

// rowsFor gives a chain, a tree, a packed row of several roots, and a row of which one token counts.
func rowsFor(vocab int) map[string]refmodel.Row {
	tokens := func(n int) []int32 {
		out := make([]int32, n)
		for i := range out {
			out[i] = int32(math.Abs(refmodel.Formula(fmt.Sprint("row", n), i, 0, 0)) * float64(vocab))
		}
		return out
	}
	from := func(lo, hi int) []int32 {
		var out []int32
		for i := lo; i < hi; i++ {
			out = append(out, int32(i))
		}
		return out
	}
	return map[string]refmodel.Row{
		"chain": refmodel.Chain(tokens(40), from(7, 40)),
		"tree": {Tokens: tokens(37), Counted: slices.Concat(from(3, 10), from(10, 15), from(19, 30), from(33, 37)),
			Segments: []refmodel.Segment{{Start: 0, Len: 10, Parent: -1}, {Start: 10, Len: 7, Parent: 0},
				{Start: 17, Len: 1, Parent: 0},
				{Start: 18, Len: 12, Parent: 2}, {Start: 30, Len: 7, Parent: 1}}},
		"packed": {Tokens: tokens(33), Counted: slices.Concat(from(1, 5), from(7, 20), from(30, 33)),
			Segments: []refmodel.Segment{{Start: 0, Len: 5, Parent: -1}, {Start: 5, Len: 1, Parent: -1},
				{Start: 6, Len: 14, Parent: -1}, {Start: 20, Len: 13, Parent: -1}}},
		"one counted": refmodel.Chain(tokens(9), from(4, 5)),
	}
}

// TestReference holds the exact mode against the float64 reference: every architecture, awkward sizes, adapters on
// every role, full training, every shape of row.
func TestReference(t *testing.T) {
	for _, s := range sizes(t) {
		for kind, m := range s.models(t) {
			t.Run(s.Name+"/"+kind, func(t *testing.T) {
				r := newTrial(t, m, engine.SessionConfig{Threads: 1, Exact: true})
				for name, row := range rowsFor(m.NVocab) {
					t.Run(name, func(t *testing.T) { r.check(t, []refmodel.Row{row}, exact) })
				}
			})
		}
	}
}
