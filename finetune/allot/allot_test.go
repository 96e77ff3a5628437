package allot

import (
	"context"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/quant"
	"github.com/ggtune/ggtune/quant/mix"
)

// wide is a model with rows of whole blocks of 256.
func wide(t *testing.T, tied bool) *engine.Model {
	t.Helper()
	spec := synth.Tiny("llama", gguf.F32)
	spec.Embd, spec.FF, spec.Tied = 256, 512, tied
	m, err := engine.Open(synth.Temp(t, spec))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func text(t *testing.T, m *engine.Model, words string) []encode.Item {
	t.Helper()
	cfg := config.Default()
	how, err := cfg.Loss()
	if err != nil {
		t.Fatal(err)
	}
	r, err := corpus.Open(&cfg, m, how)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	items, err := r.Literal("text", words, 64)
	if err != nil {
		t.Fatal(err)
	}
	return items
}

var someText = strings.Repeat("The king had a hat and a horse; one day he lost the hat, and the horse found it. ", 3)

// measured is the divergence of a written choice, and the bytes of its tensors.
func measured(t *testing.T, m *engine.Model, c quant.Choice, items []encode.Item) (float64, int64) {
	t.Helper()
	p, err := quant.NewPlan(m.File(), c)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "out.gguf")
	if _, err := quant.Write(context.Background(), p, quant.FileRows(m.File()), path, quant.Output{}); err != nil {
		t.Fatal(err)
	}
	made, err := engine.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	var predict []eval.Predict
	for _, m := range []*engine.Model{m, made} {
		s, err := engine.NewSession(m, engine.SessionConfig{Threads: 1, Exact: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		predict = append(predict, eval.Predictor(s, engine.Choice{}))
	}
	d, err := eval.Compare(context.Background(), predict[0], predict[1:], m.HParams().NVocab, items, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	_, after := p.Bytes()
	return d.Models[0].KL, after
}

// TestAllot: what is chosen fits, the more room the better, diverges as expected, and less than one type for everything
// of the same size.
func TestAllot(t *testing.T) {
	for _, tied := range []bool{false, true} {
		m := wide(t, tied)
		items := text(t, m, someText)
		found, err := Measure(context.Background(), Config{Model: m, Items: items, Threads: 1}, report.Silent{})
		if err != nil {
			t.Fatal(err)
		}
		plain, bytes := measured(t, m, quant.Choice{Mix: mix.Single(gguf.Q4_K)}, items)
		last := math.Inf(1)
		for _, bits := range []float64{3, 8 * float64(bytes) / float64(found.weights), 6} {
			c, expected, err := found.Choose(Budget{Name: "some", BPW: bits})
			if err != nil {
				t.Fatal(err)
			}
			kl, after := measured(t, m, c, items)
			if limit := int64(bits * float64(found.weights) / 8); after > limit || after < limit*95/100 {
				t.Errorf("%.2f bits: %d bytes of at most %d", bits, after, limit)
			}
			if !(expected < last) || expected > 2*kl || expected < kl/2 {
				t.Errorf("%.2f bits: expected a divergence of %g (before: %g), measured %g", bits, expected, last, kl)
			}
			if last = expected; after <= bytes && bits > 3 && !(kl < plain) {
				t.Errorf("%.2f bits: divergence %g, and %g with q4_K for everything", bits, kl, plain)
			}
			if c.Mix.Name != "some" || !slices.Contains(commonest(m, c.Tensors), c.Mix.FileType) {
				t.Errorf("mix %q of file type %d, want that of the commonest type, of %d", c.Mix.Name, c.Mix.FileType,
					commonest(m, c.Tensors))
			}
		}
		_, _, err = found.Choose(Budget{Name: "1bpw", BPW: 1})
		if !errors.Is(err, quant.ErrBudget) || !strings.Contains(err.Error(), "1bpw is too small: with the smallest") {
			t.Errorf("one bit a weight: got %v", err)
		}
	}
}

// TestImportance: without an importance matrix the matrices of the layers are rounded by the one that is found, which
// predictions are the nearer for; one that is given stays.
func TestImportance(t *testing.T) {
	m := wide(t, false)
	cfg := Config{Model: m, Items: text(t, m, someText), Threads: 1}
	few := Budget{Name: "few", BPW: 3.5}
	choose := func() quant.Choice {
		found, err := Measure(context.Background(), cfg, report.Silent{})
		if err != nil {
			t.Fatal(err)
		}
		c, _, err := found.Choose(few)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := choose()
	if len(c.Importance) != 14 {
		t.Fatalf("importance of %d tensors, want that of 7 matrices in 2 layers", len(c.Importance))
	}
	weighed, _ := measured(t, m, c, cfg.Items)
	c.Importance = nil
	if plain, _ := measured(t, m, c, cfg.Items); !(weighed < 0.95*plain) {
		t.Errorf("divergence %g by the importance matrix that was found, %g without", weighed, plain)
	}
	given := quant.Importance{"blk.0.attn_q.weight": slices.Repeat([]float32{1}, 256),
		"blk.1.attn_q.weight": slices.Repeat([]float32{1}, 256)}
	cfg.Choice.Importance = given
	if c = choose(); !maps.EqualFunc(c.Importance, given, slices.Equal) {
		t.Errorf("an importance matrix of %d tensors was given, and one of %d used", len(given), len(c.Importance))
	}
}

// TestProbesOfArchitectures: what probes measure can be an importance matrix, whatever the architecture.
func TestProbesOfArchitectures(t *testing.T) {
	for _, name := range arch.Names() {
		m, err := engine.Open(synth.Temp(t, synth.Tiny(name, gguf.F32)))
		if err != nil {
			t.Fatal(err)
		}
		a, err := probes(m, rand.New(rand.NewPCG(1, 2)))
		if err != nil {
			t.Fatal(err)
		}
		weigh := map[string]quant.Weighting{}
		for _, p := range a.Pairs {
			weigh[p.Tensor] = quant.Weighting{Columns: slices.Repeat([]float64{1e-50}, int(p.AShape[0]))}
		}
		c := quant.Choice{Mix: mix.Single(gguf.Q8_0), Importance: importance(weigh)}
		if p, err := quant.NewPlan(m.File(), c); err != nil || c.Importance[a.Pairs[0].Tensor][0] != 1 {
			t.Errorf("%s: %v, %v", name, p.Unweighted, err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// commonest are the file types of the types that as many weights have as any: several where they have equally many.
func commonest(m *engine.Model, types map[string]gguf.Type) []uint32 {
	n := map[gguf.Type]int64{}
	for _, t := range m.File().Tensors {
		if to, ok := types[t.Name]; ok {
			n[to] += t.Elements()
		}
	}
	most := slices.Max(slices.Collect(maps.Values(n)))
	var out []uint32
	for t, weights := range n {
		if weights == most {
			out = append(out, mix.Single(t).FileType)
		}
	}
	return out
}

// TestGiven: types that are given stay, a file's size counts its metadata, and a quantized source must be allowed.
func TestGiven(t *testing.T) {
	m := wide(t, false)
	cfg := Config{Model: m, Items: text(t, m, someText), Threads: 1,
		Choice: quant.Choice{Types: map[string]gguf.Type{"attn_q": gguf.Q8_0, "output": gguf.Q2_K}}}
	found, err := Measure(context.Background(), cfg, report.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	const size = 1_400_000
	c, _, err := found.Choose(Budget{Name: "1.4M", Bytes: size})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]gguf.Type{"blk.1.attn_q.weight": gguf.Q8_0, "output.weight": gguf.Q2_K} {
		if c.Tensors[name] != want {
			t.Errorf("%s is %s, want %s", name, c.Tensors[name], want)
		}
	}
	p, err := quant.NewPlan(m.File(), c)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := p.FileBytes(); err != nil || n > size || n < size*95/100 {
		t.Errorf("the file would have %d bytes (%v), want at most %d", n, err, size)
	}
	path := filepath.Join(t.TempDir(), "small.gguf")
	if _, err := quant.Write(context.Background(), p, quant.FileRows(m.File()), path, quant.Output{}); err != nil {
		t.Fatal(err)
	}
	small, err := engine.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close()
	cfg = Config{Model: small, Items: cfg.Items, Threads: 1}
	if _, err := Measure(context.Background(), cfg, report.Silent{}); !errors.Is(err, quant.ErrRequantize) {
		t.Errorf("a quantized source: got %v", err)
	}
}

// TestProbes: the probes add nothing to any matrix, so that gradients through them are the model's.
func TestProbes(t *testing.T) {
	a, err := probes(wide(t, false), rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Pairs) != 14 || a.Scale(&a.Pairs[0]) != 1 {
		t.Errorf("%d probes of scale %g, want one for each of 7 matrices in 2 layers, of scale 1", len(a.Pairs),
			a.Scale(&a.Pairs[0]))
	}
	for _, p := range a.Pairs {
		for row := range p.BShape[1] {
			for k := range p.AShape[0] {
				sum := float32(0)
				for r := range p.Rank {
					sum += p.B[row*p.Rank+r] * p.A[r*p.AShape[0]+k]
				}
				if sum != 0 {
					t.Fatalf("%s: the probe adds %g", p.Tensor, sum)
				}
			}
		}
	}
}

// TestStop: a stop ends it, wherever it comes.
func TestStop(t *testing.T) {
	m := wide(t, false)
	enough := errors.New("enough")
	for _, what := range []string{"sensitivities", "rounding errors", "predictions"} {
		ctx, stop := context.WithCancelCause(context.Background())
		cfg := Config{Model: m, Items: text(t, m, someText), Threads: 1}
		_, err := Measure(ctx, cfg, stopping{what, func() { stop(enough) }})
		if !errors.Is(err, enough) {
			t.Errorf("stopped in %s: got %v", what, err)
		}
	}
}

type stopping struct {
	what string
	stop func()
}

func (s stopping) Report(e report.Event) {
	if p, ok := e.(report.Progress); ok && p.What == s.what {
		s.stop()
	}
}
