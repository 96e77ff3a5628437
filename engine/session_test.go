package engine_test

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// A rig is a session over a tiny generated model, with its adapter's B set off zero so that every gradient flows.
type rig struct {
	*engine.Session
	t     testing.TB
	model *engine.Model
	// routed is the batch that routes are of, by which finite differences are taken.
	routed *engine.Batch
	routes *engine.Routes
}

func newRig(t testing.TB, spec synth.Spec, change func(*setup, *adapter.Config)) *rig {
	t.Helper()
	return openRig(t, synth.Temp(t, spec), change)
}

// A setup is what most tests say of a session: one set, named "", of an adapter or the full model; others stand
// behind it.
type setup struct {
	engine.SessionConfig
	Full    bool
	Dropout float64
}

// newAdapter is one whose B is off zero.
func newAdapter(t testing.TB, m *engine.Model, c adapter.Config) *adapter.Adapter {
	t.Helper()
	a, err := adapter.New(m.Net(), c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range a.Pairs {
		r := rand.New(rand.NewPCG(3, uint64(i)))
		for j := range a.Pairs[i].B {
			a.Pairs[i].B[j] = float32(r.NormFloat64() * 0.05)
		}
	}
	return a
}

func openRig(t testing.TB, path string, change func(*setup, *adapter.Config)) *rig {
	t.Helper()
	m, err := engine.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	cfg := setup{SessionConfig: engine.SessionConfig{Threads: 1, Exact: true, Seed: 1}}
	ac := adapter.Config{Rank: 4, Alpha: 8, Init: "kaiming", Seed: 7}
	if change != nil {
		change(&cfg, &ac)
	}
	switch {
	case cfg.Full:
		cfg.Sets = []engine.Set{{Whole: engine.Everything}}
	case ac.Rank > 0:
		cfg.Sets = append([]engine.Set{{Adapter: newAdapter(t, m, ac), Dropout: cfg.Dropout}}, cfg.Sets...)
	}
	s, err := engine.NewSession(m, cfg.SessionConfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return &rig{Session: s, t: t, model: m}
}

// adapter is the session's, with its numbers as they are now.
func (r *rig) adapter() *adapter.Adapter {
	r.t.Helper()
	set, err := r.Set("")
	if err != nil {
		r.t.Fatal(err)
	}
	return set.Adapter.(*adapter.Adapter)
}

func (r *rig) zeroGrad() {
	r.t.Helper()
	if err := r.ZeroGrad(); err != nil {
		r.t.Fatal(err)
	}
}

// numbers are those of a device's memory.
func numbers(t testing.TB, f backend.Floats) []float32 {
	t.Helper()
	v, err := f.All()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func upload(t testing.TB, f backend.Floats, v []float32) {
	t.Helper()
	if err := f.Upload(v, 0); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) forward(b *engine.Batch, opt engine.Options) engine.Outputs {
	r.t.Helper()
	out, err := r.Forward(context.Background(), b, opt)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// pass runs forward and backward with the given coefficients and returns what the model says and the gradients by name.
func (r *rig) pass(b *engine.Batch, coef []float32) ([]float32, map[string][]float32) {
	r.t.Helper()
	r.zeroGrad()
	out := r.forward(b, engine.Options{Backward: true, Dropout: true})[r.model.Says()]
	if coef == nil {
		coef = coefficients(len(out))
	}
	if err := r.Backward(context.Background(), engine.Outputs{r.model.Says(): coef}, nil); err != nil {
		r.t.Fatal(err)
	}
	return out, r.grads()
}

func (r *rig) grads() map[string][]float32 {
	g := map[string][]float32{}
	for _, p := range r.Params() {
		g[p.Name] = numbers(r.t, p.Grad)
	}
	return g
}

func coefficients(n int) []float32 {
	r := rand.New(rand.NewPCG(5, 5))
	c := make([]float32, n)
	for i := range c {
		c[i] = float32(r.NormFloat64())
	}
	return c
}

// chain is a row of one segment with every token but the first counted, and pooled.
func chain(tokens []int32) engine.Row { return engine.PlainRow(tokens) }

func tokens(seed uint64, n, vocab int) []int32 {
	r := rand.New(rand.NewPCG(seed, 11))
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(r.IntN(vocab))
	}
	return out
}

func batch(rows ...engine.Row) *engine.Batch { return &engine.Batch{Rows: rows, DropoutStep: 3} }

// tree is a prompt of 9 tokens with two answers, the second with a continuation of its own, as one row; separate
// gives the same counted tokens as one row each.
func tree(vocab int) (row engine.Row, separate []engine.Row) {
	prompt, a, b, c := tokens(1, 9, vocab), tokens(2, 5, vocab), tokens(3, 7, vocab), tokens(4, 4, vocab)
	row.Tokens = slices.Concat(prompt, a, b, c)
	row.Segments = []engine.Segment{{Start: 0, Len: 9, Parent: -1}, {Start: 9, Len: 5}, {Start: 14, Len: 7},
		{Start: 21, Len: 4, Parent: 2}}
	row.Pooled = []int32{1, 2, 3}
	for i := 9; i < len(row.Tokens); i++ {
		row.Counted = append(row.Counted, int32(i))
	}
	one := func(from int, parts ...[]int32) engine.Row {
		r := chain(slices.Concat(parts...))
		r.Counted = r.Counted[from-1:]
		return r
	}
	return row, []engine.Row{one(9, prompt, a), one(9, prompt, b), one(16, prompt, b, c)}
}

// Named tolerances, with the noise measured on the generated models beside them.
const (
	// packingTolerance bounds the relative difference (norm of the difference over norm) of gradients computed in
	// another arrangement of the same tokens, f32: attention blocks and sums over tokens fall differently. Measured:
	// 2e-6.
	packingTolerance = 2e-5
	// differenceTolerance bounds the relative error of f32 directional derivatives against central differences.
	// Measured: up to 3e-3 (the loss's own rounding over a step of 1e-2).
	differenceTolerance = 1e-2
)

func relative(got, want []float32) float64 {
	var d, n float64
	for i := range want {
		e := float64(got[i]) - float64(want[i])
		d += e * e
		n += float64(want[i]) * float64(want[i])
	}
	if n == 0 {
		return math.Sqrt(d)
	}
	return math.Sqrt(d / n)
}

func compareGrads(t *testing.T, got, want map[string][]float32, tolerance float64) {
	t.Helper()
	worst, at := 0.0, ""
	for name, w := range want {
		if e := relative(got[name], w); !(e <= worst) {
			worst, at = e, name
		}
	}
	t.Logf("largest relative difference %.2g (%s)", worst, at)
	if !(worst <= tolerance) {
		t.Errorf("gradient of %s differs by %.3g, want at most %g", at, worst, tolerance)
	}
}

func eachArch(t *testing.T, f func(t *testing.T, spec synth.Spec)) { each(t, arch.Names(), f) }

func each(t *testing.T, archs []string, f func(t *testing.T, spec synth.Spec)) {
	for _, name := range archs {
		t.Run(name, func(t *testing.T) { f(t, synth.Tiny(name, gguf.F32)) })
	}
}

func TestGradientsByFiniteDifferences(t *testing.T) {
	modes := map[string]func(*setup, *adapter.Config){
		"lora": func(c *setup, _ *adapter.Config) { c.Dropout = 0.25 },
		"full": func(c *setup, _ *adapter.Config) { c.Full, c.ModelDropout = true, 0.1 },
	}
	for mode, change := range modes {
		t.Run(mode, func(t *testing.T) {
			eachArch(t, func(t *testing.T, spec synth.Spec) {
				r := newRig(t, spec, change)
				row, _ := tree(spec.Vocab)
				b := batch(row, chain(tokens(8, 13, spec.Vocab)))
				_, grads := r.pass(b, nil)
				for _, p := range r.Params() {
					r.checkDirection(b, p, grads[p.Name])
				}
			})
		})
	}
}

// checkDirection compares a parameter's gradient with a central difference along it.
func (r *rig) checkDirection(b *engine.Batch, p *engine.Param, grad []float32) {
	r.t.Helper()
	var norm float64
	for _, g := range grad {
		norm += float64(g) * float64(g)
	}
	norm = math.Sqrt(norm)
	if norm == 0 {
		r.t.Errorf("%s: the gradient is zero everywhere", p.Name)
		return
	}
	if r.routed != b { // across a change of experts there is no slope
		r.routed, r.routes = b, &engine.Routes{}
		r.forward(b, engine.Options{Dropout: true, Routes: r.routes})
	}
	was := numbers(r.t, p.Value)
	moved := make([]float32, len(was))
	loss := func(step float64) float64 {
		for i := range moved {
			moved[i] = was[i] + float32(step*float64(grad[i])/norm)
		}
		upload(r.t, p.Value, moved)
		sum := 0.0
		logp := r.forward(b, engine.Options{Dropout: true, Routes: r.routes})[r.model.Says()]
		for i, c := range coefficients(len(logp)) {
			sum += float64(c) * float64(logp[i])
		}
		return sum
	}
	// The step changes the loss by about 1e-2: far above its rounding, small enough for the third derivative.
	step := min(1e-2, 1e-2/norm)
	want := (loss(step) - loss(-step)) / (2 * step)
	upload(r.t, p.Value, was)
	if largest := r.largest(); norm <= nothing*largest { // rounding alone: it changes nothing
		if !(math.Abs(want) <= differenceTolerance*largest) {
			r.t.Errorf("%s: the slope is %.2g, finite difference %.2g", p.Name, norm, want)
		}
		return
	}
	if e := math.Abs(want-norm) / norm; !(e <= differenceTolerance) {
		r.t.Errorf("%s: slope along the gradient: got %.6g, finite difference %.6g (off by %.2g)", p.Name, norm, want,
			e)
	}
}

// nothing is the size, of the largest gradient's, of one that is rounding alone: of a bias of keys, say, that no
// position rotates, for it adds the same to all scores of a token. Measured: 2e-8.
const nothing = 1e-6

// largest is the norm of the largest gradient.
func (r *rig) largest() (most float64) {
	for _, g := range r.grads() {
		most = max(most, relative(g, make([]float32, len(g))))
	}
	return most
}

func TestKeptEqualsRecomputed(t *testing.T) {
	eachArch(t, func(t *testing.T, spec synth.Spec) {
		b := batch(chain(tokens(1, 21, spec.Vocab)))
		for _, exact := range []bool{true, false} {
			var first map[string][]float32
			for _, keep := range []int64{0, 1 << 40} {
				r := newRig(t, spec, func(c *setup, _ *adapter.Config) {
					c.KeepBytes, c.Exact, c.Dropout, c.ModelDropout = keep, exact, 0.1, 0.2
				})
				_, g := r.pass(b, nil)
				if first == nil {
					first = g
				}
				for name := range g {
					if !slices.Equal(g[name], first[name]) {
						t.Fatalf("exact %v: gradient of %s differs between kept and recomputed activations (%.3g)",
							exact, name, relative(g[name], first[name]))
					}
				}
			}
		}
	})
}

func TestThreadsGiveTheSameBits(t *testing.T) {
	eachArch(t, func(t *testing.T, spec synth.Spec) {
		b := batch(chain(tokens(1, 33, spec.Vocab)))
		var logp []float32
		var grads map[string][]float32
		for _, n := range []int{1, 2} {
			r := newRig(t, spec, func(c *setup, _ *adapter.Config) { c.Threads, c.Exact = n, false })
			l, g := r.pass(b, nil)
			if logp == nil {
				logp, grads = l, g
				continue
			}
			if !slices.Equal(l, logp) {
				t.Errorf("%d threads: log-probabilities differ from one thread's", n)
			}
			for name := range g {
				if !slices.Equal(g[name], grads[name]) {
					t.Errorf("%d threads: gradient of %s differs from one thread's", n, name)
				}
			}
		}
	})
}

// In a tree a prompt does not see its answers, as it would where tokens see both ways.
func TestTreeEqualsSeparate(t *testing.T) {
	each(t, arch.Predicting(), func(t *testing.T, spec synth.Spec) {
		row, separate := tree(spec.Vocab)
		r := newRig(t, spec, nil)
		logp, grads := r.pass(batch(row), nil)
		coef := coefficients(len(logp))
		// The tree's counted tokens are those of a, b and c in turn; the separate rows count the same.
		apart, apartGrads := r.pass(batch(separate...), coef)
		if e := relative(apart, logp); e > packingTolerance {
			t.Errorf("log-probabilities differ by %.3g", e)
		}
		compareGrads(t, apartGrads, grads, packingTolerance)
	})
}

func TestPackedEqualsUnpacked(t *testing.T) {
	eachArch(t, func(t *testing.T, spec synth.Spec) {
		r := newRig(t, spec, nil)
		var packed engine.Row
		var apart []engine.Row
		for i, n := range []int{7, 1, 12, 5} {
			row := chain(tokens(uint64(i), n, spec.Vocab))
			apart = append(apart, row)
			at := len(packed.Tokens)
			packed.Tokens = append(packed.Tokens, row.Tokens...)
			packed.Segments = append(packed.Segments, engine.Segment{Start: at, Len: n, Parent: -1})
			packed.Pooled = append(packed.Pooled, int32(i))
			for _, c := range row.Counted {
				packed.Counted = append(packed.Counted, c+int32(at))
			}
		}
		logp, grads := r.pass(batch(packed), nil)
		coef := coefficients(len(logp))
		_, rowsGrads := r.pass(batch(apart...), coef)
		compareGrads(t, rowsGrads, grads, packingTolerance)

		// One row a micro-batch, gradients summed.
		r.zeroGrad()
		at := 0
		for _, row := range apart {
			if len(row.Tokens) == 1 && r.model.Says() == engine.LogP {
				continue
			}
			n := len(r.forward(batch(row), engine.Options{Backward: true})[r.model.Says()])
			if err := r.Backward(context.Background(), engine.Outputs{r.model.Says(): coef[at : at+n]},
				nil); err != nil {
				t.Fatal(err)
			}
			at += n
		}
		compareGrads(t, r.grads(), grads, packingTolerance)
	})
}

func TestAdapterOffIsTheBase(t *testing.T) {
	eachArch(t, func(t *testing.T, spec synth.Spec) {
		path := synth.Temp(t, spec)
		with := openRig(t, path, nil)
		without := openRig(t, path, func(_ *setup, a *adapter.Config) { a.Rank = 0 })
		b := batch(chain(tokens(1, 15, spec.Vocab)))
		says := with.model.Says()
		base := without.forward(b, engine.Options{})[says]
		if off := with.forward(b, engine.Options{Apply: engine.Only()})[says]; !slices.Equal(off, base) {
			t.Errorf("with the adapter off %s is not the base's: %v, want %v", says.Name, off, base)
		}
		if on := with.forward(b, engine.Options{})[says]; slices.Equal(on, base) {
			t.Error("the adapter changes nothing")
		}
	})
}
