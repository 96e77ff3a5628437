package engine_test

import (
	"context"
	"maps"
	"slices"
	"testing"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/internal/refmodel"
	"github.com/ggtune/ggtune/quant/mix"
)

func dequantize(t gguf.Type, data []byte, n int) ([]float32, error) {
	return ggml.Dequantize(ggml.Type(t), data, int64(n))
}

// loadReference reads a model file into the reference and gives it pairs of rank r; none with r = 0.
func loadReference(t *testing.T, path string, r int) *refmodel.Model {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := refmodel.Load(f, dequantize)
	if err != nil {
		t.Fatal(err)
	}
	if r > 0 {
		if m, err = m.WithPairs(r, 0.5); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// storageTypes are those that weights of a base may have.
func storageTypes() []gguf.Type {
	var out []gguf.Type
	for _, typ := range gguf.Types() {
		if !typ.IsInt() && typ != gguf.F64 && typ != gguf.Q8_1 && typ != gguf.Q8_K {
			out = append(out, typ)
		}
	}
	return out
}

// everyType says whether an architecture stands for others where storage types are tried: llama does, whose products
// are all architectures', and those of experts, which are multiplied by other kernels.
func everyType(t *testing.T, name string) bool {
	t.Helper()
	a, err := arch.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	_, experts := a.Example.Keys["expert_count"]
	return name == "llama" || experts
}

// TestReferenceStorageTypes: the exact mode computes with the stored numbers themselves, whatever their type.
func TestReferenceStorageTypes(t *testing.T) {
	for _, typ := range storageTypes() {
		t.Run(typ.String(), func(t *testing.T) {
			spec := synth.Tiny("llama", typ)
			spec.Layers, spec.Tied = 1, false
			if spec.Validate() != nil {
				t.Skipf("no models of type %v are generated", typ)
			}
			path := synth.Temp(t, spec)
			m := loadReference(t, path, 3)
			r := openTrial(t, path, m, engine.SessionConfig{Threads: 1, Exact: true})
			r.check(t, []refmodel.Row{short(m.NVocab)}, exact)
		})
	}
}

// short is a row for models whose rows of 256 elements cost the reference time.
func short(vocab int) refmodel.Row {
	return refmodel.Row{Tokens: rowsFor(vocab)["tree"].Tokens[:13], Counted: []int32{4, 5, 7, 12},
		Segments: []refmodel.Segment{{Start: 0, Len: 6, Parent: -1}, {Start: 6, Len: 3, Parent: 0},
			{Start: 9, Len: 4, Parent: 0}}}
}

// TestReferenceMixes: types mixed within a file, on every architecture.
func TestReferenceMixes(t *testing.T) {
	m, err := mix.Get("Q4_K_M")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range arch.Names() {
		t.Run(name, func(t *testing.T) {
			spec := synth.Tiny(name, gguf.Q4_K)
			spec.Mix = m
			path := synth.Temp(t, spec)
			m := loadReference(t, path, 3)
			r := openTrial(t, path, m, engine.SessionConfig{Threads: 1, Exact: true})
			r.check(t, []refmodel.Row{short(m.NVocab)}, exact)
		})
	}
}

// TestReferenceFullStorageTypes: full training of a quantized model starts from the numbers that its blocks stand for.
func TestReferenceFullStorageTypes(t *testing.T) {
	for _, typ := range storageTypes() {
		t.Run(typ.String(), func(t *testing.T) {
			spec := synth.Tiny("llama", typ)
			spec.Layers, spec.Tied = 1, false
			if spec.Validate() != nil {
				t.Skipf("no models of type %v are generated", typ)
			}
			path := synth.Temp(t, spec)
			m := loadReference(t, path, 0)
			r := openTrial(t, path, m, engine.SessionConfig{Threads: 1, Exact: true})
			r.check(t, []refmodel.Row{short(m.NVocab)}, exact)
		})
	}
}

// TestReferenceFullHalves: full training starts from the stored halves and goes on in f32.
func TestReferenceFullHalves(t *testing.T) {
	for _, typ := range []gguf.Type{gguf.F16, gguf.BF16} {
		for _, name := range arch.Names() {
			if typ == gguf.BF16 && !everyType(t, name) {
				continue
			}
			t.Run(name+"/"+typ.String(), func(t *testing.T) {
				path := synth.Temp(t, synth.Tiny(name, typ))
				m := loadReference(t, path, 0)
				r := openTrial(t, path, m, engine.SessionConfig{Threads: 1, Exact: true})
				r.check(t, []refmodel.Row{rowsFor(m.NVocab)["packed"]}, exact)
			})
		}
	}
}

// TestReferenceSomePairs: no backward goes below the lowest pair, and none is lost above it.
func TestReferenceSomePairs(t *testing.T) {
	s := sizeOf(t, "llama") // three layers, untied
	whole := s.models(t)["adapter"]
	for _, names := range [][]string{
		{"output.weight"},
		{"token_embd.weight"},
		{"output.weight", "token_embd.weight"},
		{"blk.2.ffn_down.weight"},
		{"blk.2.attn_q.weight"},
		{"blk.1.attn_k.weight"},
		{"blk.1.attn_v.weight", "output.weight"},
		{"blk.0.attn_output.weight"},
		{"blk.0.ffn_gate.weight", "blk.2.ffn_up.weight"},
		{"blk.1.ffn_up.weight"},
	} {
		t.Run(names[len(names)-1]+" of "+names[0], func(t *testing.T) {
			m := *whole
			m.LoRA = maps.Clone(whole.LoRA)
			maps.DeleteFunc(m.LoRA, func(name string, _ refmodel.Pair) bool { return !slices.Contains(names, name) })
			for _, keep := range []int64{0, 1 << 30} {
				r := newTrial(t, &m, engine.SessionConfig{Threads: 1, Exact: true, KeepBytes: keep})
				r.check(t, []refmodel.Row{rowsFor(m.NVocab)["tree"]}, exact)
			}
		})
	}
}

// TestReferenceBatches: rows of unlike lengths in one batch, larger and smaller batches after it, and gradients
// summed over two passes.
func TestReferenceBatches(t *testing.T) {
	for _, s := range []size{sizeOf(t, "llama, every optional tensor, odd sizes"), sizeOf(t, "qwen3"),
		sizeOf(t, "gpt2")} {
		for kind, m := range s.models(t) {
			t.Run(s.Name+"/"+kind, func(t *testing.T) {
				rows := rowsFor(m.NVocab)
				all := []refmodel.Row{rows["one counted"], rows["tree"], rows["chain"], rows["packed"]}
				r := newTrial(t, m, engine.SessionConfig{Threads: 1, Exact: true})
				r.check(t, all[:1], exact)
				r.check(t, all, exact)
				r.check(t, all[2:], exact)

				d, want := lossWeights(counted(all)), referenceOf(t, m, all).grads
				if err := r.session.ZeroGrad(); err != nil {
					t.Fatal(err)
				}
				r.run(t, all[:2], d[:counted(all[:2])])
				r.run(t, all[2:], d[counted(all[:2]):])
				for name, g := range r.gradients(t) {
					if norm, cosine := apart(g, want[name].Data); !(norm <= exactNorm) || !(cosine <= exactCosine) {
						t.Errorf("gradient of %s over two passes: relative difference of norms %.3g, 1-cosine %.3g",
							name, norm, cosine)
					}
				}
			})
		}
	}
}

func counted(rows []refmodel.Row) int {
	n := 0
	for _, r := range rows {
		n += len(r.Counted)
	}
	return n
}

// TestReferenceLogits: the logits behind each counted token's predecessor, with the adapter and without.
func TestReferenceLogits(t *testing.T) {
	const tolerance = 1e-5 // of the largest logit
	for _, s := range sizes(t) {
		t.Run(s.Name, func(t *testing.T) {
			m := s.models(t)["adapter"]
			r := newTrial(t, m, engine.SessionConfig{Threads: 1, Exact: true})
			base := *m
			base.LoRA = nil
			row := rowsFor(m.NVocab)["chain"]
			outputs := []*engine.Output{engine.Logits, engine.LogP}
			if r.session.Model().Net().Headless {
				row, outputs = vectors(row), []*engine.Output{engine.Pooled}
			}
			for _, off := range []bool{false, true} {
				ref := m
				var apply engine.Choice
				if off {
					apply = engine.Only()
					ref = &base
				}
				p, err := ref.Forward(row)
				if err != nil {
					t.Fatal(err)
				}
				var logits []float64
				for _, c := range row.Counted {
					logits = append(logits, p.Logits(int(c)-1)...)
				}
				b := &engine.Batch{Rows: []engine.Row{engineRow(row)}}
				for _, o := range outputs {
					out, err := r.session.Forward(context.Background(), b, engine.Options{Want: []*engine.Output{o},
						Apply: apply, Pooling: arch.PoolMean})
					if err != nil {
						t.Fatal(err)
					}
					want := map[*engine.Output][]float64{engine.Logits: logits, engine.LogP: p.LogP,
						engine.Pooled: p.Pooled}[o]
					if e := farthest(float64s(out[o]), want); !(e <= tolerance) {
						t.Errorf("adapter off %v: %s differs by %.3g of the largest, want at most %.3g", off, o.Name, e,
							tolerance)
					}
				}
			}
		})
	}
}

// TestReferenceLong: rows beyond the attention's blocks, the head's chunks and the products' tiles.
func TestReferenceLong(t *testing.T) {
	hp := refmodel.HParams{NLayer: 1, NEmbd: 24, NFF: 700, NHead: 2, NHeadKV: 1, HeadDim: 12, NVocab: 600,
		NCtxTrain: 512, NormEps: 1.0 / 65536,
		Rope: refmodel.Rope{Dim: 12, Base: 10000, Scale: 1, AttnFactor: 1}}
	const n = 420
	tokens := make([]int32, n)
	for i := range tokens {
		tokens[i] = int32((refmodel.Formula("long", i, 0, 0) + 1) / 2 * float64(hp.NVocab))
	}
	rows := map[string]refmodel.Row{
		"chain":  {Tokens: tokens, Segments: []refmodel.Segment{{Start: 0, Len: n, Parent: -1}}},
		"forest": {Tokens: tokens, Segments: grow(n, 40, true)},
		"packed": {Tokens: tokens, Segments: grow(n, 90, false)},
	}
	s := size{"llama", refmodel.Example{HParams: hp}}
	for kind, m := range s.models(t) {
		for name, row := range rows {
			t.Run(kind+"/"+name, func(t *testing.T) {
				for _, g := range row.Segments {
					for i := g.Start; i < g.Start+g.Len; i++ {
						if i > g.Start || g.Parent >= 0 {
							row.Counted = append(row.Counted, int32(i))
						}
					}
				}
				threads := 1
				if name == "forest" {
					threads = 2
				}
				r := newTrial(t, m, engine.SessionConfig{Threads: threads, Exact: true})
				r.check(t, []refmodel.Row{row}, exact)
			})
		}
	}
}

// grow covers n tokens with segments of 1 to longest tokens, roots or, in a tree, mostly branches of earlier ones.
func grow(n, longest int, tree bool) []refmodel.Segment {
	var out []refmodel.Segment
	for at := 0; at < n; {
		pick := func(what string, below int) int {
			return int((refmodel.Formula(what, at, 0, 0) + 1) / 2 * float64(below))
		}
		s := refmodel.Segment{Start: at, Len: min(n-at, 1+pick("length", longest)), Parent: -1}
		if tree && len(out) > 0 && pick("root", 8) > 0 {
			s.Parent = pick("parent", len(out))
		}
		out = append(out, s)
		at += s.Len
	}
	return out
}

// fast is how near the default mode, which rounds activations, stays to the reference: measured 5.4e-3, 2.1e-2, 4.1e-4.
var fast = closeness{logp: 2e-2, norm: 6e-2, cosine: 2e-3}

// TestReferenceFast: the default mode rounds activations, and must stay near the reference all the same.
func TestReferenceFast(t *testing.T) {
	for _, typ := range []gguf.Type{gguf.F32, gguf.BF16, gguf.Q8_0} { // TestReferenceLevels has a type of blocks of 256
		for _, name := range arch.Names() {
			if typ == gguf.BF16 && !everyType(t, name) {
				continue
			}
			t.Run(name+"/"+typ.String(), func(t *testing.T) {
				path := synth.Temp(t, synth.Tiny(name, typ))
				m := loadReference(t, path, 4)
				r := openTrial(t, path, m, engine.SessionConfig{Threads: 1, KeepBytes: 1 << 30})
				r.check(t, []refmodel.Row{short(m.NVocab)}, fast)
			})
		}
	}
}
