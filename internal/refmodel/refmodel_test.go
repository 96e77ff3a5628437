package refmodel

import (
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
)

// A variant is a tiny model for the tests.
type variant struct {
	name   string
	arch   string
	untied bool
	biases bool // the optional ones
	freqs  bool
	rope   Rope
	dim    int // elements of a head
	layers int
}

func variants() []variant {
	plain := Rope{Dim: 4, Base: 100, Scale: 1, AttnFactor: 1}
	neox := Rope{Dim: 4, Base: 100, Scale: 1, Neox: true, AttnFactor: 1}
	list := []variant{
		{name: "llama", arch: "llama", untied: true, rope: plain, dim: 4, layers: 2},
		{name: "llama tied, biases, frequency factors", arch: "llama", biases: true, freqs: true, rope: plain, dim: 4,
			layers: 1},
		{name: "llama, part of a head rotated", arch: "llama",
			rope: Rope{Dim: 2, Base: 100, Scale: 0.5, AttnFactor: 1}, dim: 4,
			layers: 1},
		{name: "qwen2", arch: "qwen2", biases: true, rope: neox, dim: 4, layers: 1},
		{name: "qwen2, yarn", arch: "qwen2", untied: true,
			rope: Rope{Dim: 4, Base: 100, Scale: 0.25, Neox: true, Yarn: true, CtxOrig: 64, AttnFactor: 0.875}, dim: 4,
			layers: 1},
		{name: "qwen3", arch: "qwen3", untied: true,
			rope: Rope{Dim: 6, Base: 100, Scale: 1, Neox: true, AttnFactor: 1}, dim: 6,
			layers: 1},
		{name: "phi3, part of a head rotated, frequency factors", arch: "phi3", freqs: true,
			rope: Rope{Dim: 2, Base: 100, Scale: 1, Neox: true, AttnFactor: 1.25}, dim: 4, layers: 2},
		{name: "mistral3", arch: "mistral3", untied: true, dim: 4, layers: 1, rope: Rope{Dim: 4, Base: 100, Scale: 0.25,
			Yarn: true, CtxOrig: 2, AttnFactor: 1, BetaFast: 4, LogMul: 1, Temp: 0.5}},
		{name: "gpt2", arch: "gpt2", dim: 4, layers: 2},
		{name: "gpt2 untied", arch: "gpt2", untied: true, dim: 4, layers: 1},
		{name: "bert", arch: "bert", dim: 4, layers: 2},
	}
	for _, a := range Architectures() { // those without a wish of their own
		if !slices.ContainsFunc(list, func(v variant) bool { return v.arch == a.Name }) {
			plain.Neox = a.Neox
			list = append(list, variant{name: a.Name, arch: a.Name, untied: !a.AlwaysTied, biases: true, rope: plain,
				dim: 4, layers: 2})
		}
	}
	return list
}

// model makes a variant's weights and LoRA pairs of rank 2 beside every linear weight that may have one.
func (v variant) model(t testing.TB) *Model {
	hp := HParams{NLayer: v.layers, NEmbd: 8, NFF: 6, NHead: 2, NHeadKV: 1, HeadDim: v.dim, NVocab: 11, NCtxTrain: 9,
		NormEps: 1.0 / 1024, Rope: v.rope}
	switch v.arch {
	case "gpt2":
		hp.NHeadKV = 2
	case "bert":
		hp.NTypes = 2
	case "nomic-bert":
		hp.NTypes, hp.NHeadKV = 2, 2
	case "gemma2":
		hp.Window, hp.AttnCap, hp.LogitCap = 2, 0.5, 1.5
	case "gemma3":
		hp.Window = 2
	case "gemma-embedding":
		hp.Window, hp.NDense = 2, 5
	case "gemma4":
		hp.Window, hp.Period, hp.Near = 2, 2, Near{NHeadKV: 2, HeadDim: 6, Base: 50}
	case "lfm2":
		hp.Period, hp.LCache = 2, 3
	}
	if strings.HasSuffix(v.arch, "moe") || v.arch == "gpt-oss" {
		hp.NExpert, hp.NExpertUsed = 3, 2
		switch v.arch {
		case "qwen3moe", "gpt-oss":
			hp.NFFExp = 5
		case "olmoe":
			hp.NHeadKV = hp.NHead
		case "granitemoe":
			hp.NFFShared = 5
		}
	}
	if strings.HasPrefix(v.arch, "gemma") { // with a norm behind each half of a layer a small one bends losses too much
		hp.NormEps = 0.25
	}
	m, err := Generate(v.arch, hp, 1, func(name string) bool {
		return name == "output.weight" && v.untied || strings.HasPrefix(name, "rope_") && v.freqs ||
			strings.HasSuffix(name, "layer_output_scale.weight") ||
			strings.HasSuffix(name, ".bias") && v.biases
	})
	if err != nil {
		t.Fatal(err)
	}
	if m, err = m.WithPairs(2, 0.75); err != nil {
		t.Fatal(err)
	}
	m.Value = FormulaMatrix("value.weight", 1, hp.NEmbd, 0, 0)
	return m
}

// forest has a prompt with two answers, one of which forks, and another root.
func forest() Row {
	return Row{
		Tokens:   []int32{1, 5, 3, 10, 2, 5, 5, 0, 7},
		Segments: []Segment{{0, 2, -1}, {2, 2, 0}, {4, 1, 1}, {5, 1, 0}, {6, 3, -1}},
		Counted:  []int32{1, 2, 3, 4, 5, 8},
	}
}

// forestOf is a forest of which what the model gives is asked for.
func forestOf(m *Model) Row {
	r := forest()
	if r.Pooled, r.Pooling = []int32{0, 2, 4}, "mean"; m.of().Headless {
		r.Counted = nil
	}
	return r
}

// weights of the loss: anything but equal.
func lossWeights(n int) []float64 {
	w := make([]float64, n)
	for i := range w {
		w[i] = Formula("loss", i, 0, 0)
	}
	return w
}

func mustForward(t testing.TB, m *Model, r Row) *Pass {
	t.Helper()
	p, err := m.Forward(r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustBackward(t testing.TB, m *Model, r Row, d []float64) Gradients {
	t.Helper()
	g, err := mustForward(t, m, r).Backward(d)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// parameters gives every matrix of a model by the name of its gradient.
func parameters(m *Model) map[string]*Matrix {
	out := map[string]*Matrix{}
	for name, w := range m.Weights {
		if !strings.HasPrefix(name, "rope_") && !strings.HasSuffix(name, "layer_output_scale.weight") { // never trained
			out[name] = w
		}
	}
	for name, p := range m.LoRA {
		out[name+".lora_a"], out[name+".lora_b"] = p.A, p.B
	}
	out["value.weight"] = m.Value
	return out
}

// TestFiniteDifferences checks every number of every parameter of every architecture.
func TestFiniteDifferences(t *testing.T) {
	const (
		step      = 1e-5
		tolerance = 1e-7 // of the largest gradient of the tensor, or of 1; measured 1e-8
	)
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			m := v.model(t)
			row := forestOf(m)
			row.Valued, row.Temp = []int32{0, 4, 5, 8}, 0.75
			d := lossWeights(2*len(row.Counted) + len(row.Valued))
			s := Slopes{d[:len(row.Counted)], d[len(row.Counted):][:len(row.Counted)], d[2*len(row.Counted):],
				lossWeights(len(row.Pooled) * m.NEmbd)}
			grads, err := mustForward(t, m, row).BackwardFrom(s)
			if err != nil {
				t.Fatal(err)
			}
			loss := func() float64 {
				p := mustForward(t, m, row)
				return dot(s.LogP, p.LogP) + dot(s.Entropy, p.Entropy) + dot(s.Value, p.Value) +
					dot(s.Pooled, p.Pooled)
			}
			params, worst := parameters(m), 0.0
			if len(params) != len(grads) {
				t.Errorf("%d gradients for %d parameters", len(grads), len(params))
			}
			for _, name := range slices.Sorted(maps.Keys(params)) {
				p := params[name]
				size := 1.0
				for _, g := range grads[name].Data {
					size = max(size, math.Abs(g))
				}
				for i, at := range p.Data {
					p.Data[i] = at + step
					want := loss()
					p.Data[i] = at - step
					want = (want - loss()) / (2 * step)
					p.Data[i] = at
					e := math.Abs(grads[name].Data[i]-want) / size
					if !(e <= tolerance) {
						t.Fatalf("gradient of %s[%d] is %.9g, finite differences give %.9g", name, i,
							grads[name].Data[i], want)
					}
					worst = max(worst, e)
				}
			}
			t.Logf("%d parameters, worst error %.2g", len(params), worst)
		})
	}
}

// TestTreeEqualsSeparate: each path from a root to a leaf, run alone, gives the same log-probabilities and, added up,
// the same gradients.
func TestTreeEqualsSeparate(t *testing.T) {
	const tolerance = 1e-12 // measured 5e-15
	r := forest()
	d := lossWeights(len(r.Counted))
	// Paths of forest, and which of their tokens are counted there (indices into r.Counted), each counted once.
	paths := []struct{ tokens, counted []int }{
		{[]int{0, 1, 2, 3, 4}, []int{0, 1, 2, 3}},
		{[]int{0, 1, 5}, []int{4}},
		{[]int{6, 7, 8}, []int{5}},
	}
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			m := v.model(t)
			if m.of().Headless {
				t.Skip("in a tree a prompt does not see its answers, as it would where tokens see both ways")
			}
			whole := mustForward(t, m, r)
			want := Gradients{}
			for _, p := range paths {
				tokens, counted, dp := []int32{}, []int32{}, []float64{}
				for _, i := range p.tokens {
					tokens = append(tokens, r.Tokens[i])
				}
				for _, c := range p.counted {
					counted = append(counted, int32(slices.Index(p.tokens, int(r.Counted[c]))))
					dp = append(dp, d[c])
				}
				alone := mustForward(t, m, Chain(tokens, counted))
				for i, c := range p.counted {
					if e := math.Abs(alone.LogP[i] - whole.LogP[c]); !(e <= tolerance) {
						t.Errorf("token %d: %.15g in the tree, %.15g alone", r.Counted[c], whole.LogP[c], alone.LogP[i])
					}
				}
				g, err := alone.Backward(dp)
				if err != nil {
					t.Fatal(err)
				}
				want.Add(g)
			}
			got, err := whole.Backward(d)
			if err != nil {
				t.Fatal(err)
			}
			for name := range want {
				if e := difference(got[name].Data, want[name].Data); !(e <= tolerance) {
					t.Errorf("gradient of %s differs by %.3g", name, e)
				}
			}
		})
	}
}

// TestMergedEqualsAdapter: W + scale·B·A in place of the pair gives the same outputs.
func TestMergedEqualsAdapter(t *testing.T) {
	const tolerance = 1e-12
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			m := v.model(t)
			merged := *m
			merged.LoRA, merged.Weights = nil, maps.Clone(m.Weights)
			for name, p := range m.LoRA {
				w := &Matrix{Rows: m.Weights[name].Rows, Cols: m.Weights[name].Cols,
					Data: slices.Clone(m.Weights[name].Data)}
				for n := range w.Rows {
					for k := range w.Cols {
						for r := range p.B.Cols {
							if name == "token_embd.weight" {
								w.Row(n)[k] += p.Scale * p.A.Row(n)[r] * p.B.Row(k)[r]
							} else {
								a := r // in the matrix of the row's expert
								if strings.HasSuffix(name, "_exps.weight") {
									a += n / (w.Rows / m.NExpert) * p.B.Cols
								}
								w.Row(n)[k] += p.Scale * p.B.Row(n)[r] * p.A.Row(a)[k]
							}
						}
					}
				}
				merged.Weights[name] = w
			}
			with, without := mustForward(t, m, forestOf(m)), mustForward(t, &merged, forestOf(m))
			got, want := append(without.LogP, without.Pooled...), append(with.LogP, with.Pooled...)
			if e := difference(got, want); !(e <= tolerance) {
				t.Errorf("merged gives %v, the adapter %v", got, want)
			}
		})
	}
}

func TestGGUFRoundTrip(t *testing.T) {
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			m := v.model(t)
			m.LoRA = nil
			path := filepath.Join(t.TempDir(), "model.gguf")
			if err := m.WriteGGUF(path); err != nil {
				t.Fatal(err)
			}
			f, err := gguf.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			back, err := Load(f, nil)
			if err != nil {
				t.Fatal(err)
			}
			want := m.HParams
			if want.Rope.CtxOrig == 0 && !m.of().Positions { // what the file does not state: defaults
				want.Rope.CtxOrig = m.NCtxTrain
			}
			if back.HParams != want {
				t.Errorf("read back %+v, want %+v", back.HParams, want)
			}
			if len(back.Weights) != len(m.Weights) {
				t.Errorf("read back %d tensors, want %d", len(back.Weights), len(m.Weights))
			}
			for name, w := range m.Weights {
				if got := back.Weights[name]; got == nil || !slices.Equal(got.Data, w.Data) {
					t.Errorf("%s came back changed", name)
				}
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	base := variants()[0]
	for _, c := range []struct {
		name   string
		change func(m *Model, r *Row)
		want   string
	}{
		{"architecture", func(m *Model, r *Row) { m.Arch = "mamba" }, `architecture "mamba"`},
		{"missing tensor", func(m *Model, r *Row) { delete(m.Weights, "blk.0.attn_v.weight") },
			`"blk.0.attn_v.weight" is missing`},
		{"unknown tensor", func(m *Model, r *Row) { m.Weights["blk.0.ssm.weight"] = NewMatrix(1, 1) }, "not used"},
		{"shape", func(m *Model, r *Row) { m.Weights["output_norm.weight"] = NewMatrix(1, 7) },
			"7 columns, expected 1 and 8"},
		{"pair beside a norm", func(m *Model, r *Row) { m.LoRA["output_norm.weight"] = m.LoRA["output.weight"] },
			"not a linear weight"},
		{"pair's shape", func(m *Model, r *Row) { m.LoRA["token_embd.weight"] = m.LoRA["output.weight"] },
			"expected 11x2 and 8x2"},
		{"pair with tied embeddings",
			func(m *Model, r *Row) { delete(m.Weights, "output.weight"); delete(m.LoRA, "output.weight") },
			"tied embeddings"},
		{"token", func(m *Model, r *Row) { r.Tokens[3] = 11 }, "outside the vocabulary of 11"},
		{"counted root", func(m *Model, r *Row) { r.Counted[5] = 6 }, "no predecessor"},
		{"parent", func(m *Model, r *Row) { r.Segments[1].Parent = 1 }, "expected an earlier segment"},
		{"valued", func(m *Model, r *Row) { r.Valued = []int32{9} }, "outside the row"},
		{"head of values", func(m *Model, r *Row) { m.Value = NewMatrix(1, 7) }, "7 columns, expected 1 and 8"},
		{"no head of values", func(m *Model, r *Row) { m.Value, r.Valued = nil, []int32{1} }, "no head of them"},
		{"gap", func(m *Model, r *Row) { r.Segments[1].Len = 1 }, "expected a start of 3"},
		{"uncovered", func(m *Model, r *Row) { r.Segments = r.Segments[:4]; r.Counted = r.Counted[:5] },
			"cover 6 tokens of 9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, r := base.model(t), forest()
			c.change(m, &r)
			if _, err := m.Forward(r); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	t.Run("second backward", func(t *testing.T) {
		p := mustForward(t, base.model(t), forest())
		d := lossWeights(len(p.LogP))
		if _, err := p.Backward(d[1:]); err == nil {
			t.Error("a gradient too few was taken")
		}
		if _, err := p.Backward(d); err != nil {
			t.Error(err)
		}
		if _, err := p.Backward(d); err == nil {
			t.Error("a second backward was taken")
		}
	})
	t.Run("not exact", func(t *testing.T) {
		m := base.model(t)
		m.Weights["output_norm.weight"].Data[0] = 0.1
		if err := m.WriteGGUF(filepath.Join(t.TempDir(), "m.gguf")); err == nil ||
			!strings.Contains(err.Error(), "not exact") {
			t.Errorf("got %v, want a refusal", err)
		}
	})
}

// TestDigestSeesFaults: a fault in any one number, or in the order of the numbers, shows.
func TestDigestSeesFaults(t *testing.T) {
	cases, err := Recordings()
	if err != nil {
		t.Fatal(err)
	}
	c := cases[slices.IndexFunc(cases, func(r *Recorded) bool { return r.Name == "llama" })]
	g := mustBackward(t, c.Adapted(), c.Row, c.Adapt.DSays())
	for _, name := range []string{"blk.0.attn_q.weight.lora_a", "output.weight.lora_b"} {
		d, data := c.Adapt.Grads[name], g[name].Data
		for i := range data {
			was := data[i]
			data[i] += 1e-3 * d.Norm
			if e := d.Difference(data); e < 0.5e-3 {
				t.Errorf("%s: number %d off by 1e-3 of the norm shows as %.3g", name, i, e)
			}
			data[i] = was
		}
		swapped := slices.Clone(data)
		slices.Reverse(swapped)
		if e := d.Difference(swapped); e < 0.1 {
			t.Errorf("%s: reversed numbers show as %.3g", name, e)
		}
		if e := d.Difference(data[1:]); !math.IsInf(e, 1) {
			t.Errorf("%s: a number too few shows as %.3g", name, e)
		}
	}
}

// BenchmarkReference shows that the reference is quick enough to be run in tests by the dozen.
func BenchmarkReference(b *testing.B) {
	cases, err := Recordings()
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range cases {
		b.Run(c.Name, func(b *testing.B) {
			for range b.N {
				mustBackward(b, c.Adapted(), c.Row, c.Adapt.DSays())
			}
		})
	}
}
