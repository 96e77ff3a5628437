package engine_test

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// straightThrough bounds how far gradients through rounded weights may lie from those of the written model trained
// whole, in exact mode: measured 0, the numbers being multiplied in the same order.
const straightThrough = 1e-6

// TestRounded: passes compute what the written file does, bit for bit, which holds each tensor as it is quantized; the
// gradients are those of the rounded weights, and go to the numbers before rounding.
func TestRounded(t *testing.T) {
	q8 := gguf.Q8_0
	for name, tc := range map[string]struct {
		types map[string]gguf.Type // beside q4_0
		some  func(p arch.Part, il int) bool
	}{
		"full": {},
		"mixed": {types: map[string]gguf.Type{"blk.1.attn_q.weight": gguf.F16, "blk.0.ffn_down.weight": gguf.BF16,
			"output.weight": gguf.F32}},
		"part":     {some: func(p arch.Part, il int) bool { return il == 1 && len(p.Shape) == 2 }},
		"all q8_0": {types: map[string]gguf.Type{"": q8}},
	} {
		for _, exact := range []bool{true, false} {
			t.Run(name+map[bool]string{true: ", exact", false: ""}[exact], func(t *testing.T) {
				base := synth.Temp(t, synth.Tiny("llama", gguf.F32))
				as := gguf.Q4_0
				if other, ok := tc.types[""]; ok {
					as = other
				}
				whole := tc.some
				if whole == nil {
					whole = engine.Everything
				}
				r := openRig(t, base, func(s *setup, c *adapter.Config) {
					c.Rank = 0
					s.Exact, s.Threads = exact, 2
					s.Sets = []engine.Set{{Whole: whole, Type: &as, Types: tc.types, Rounded: true}}
				})
				g := rand.New(rand.NewPCG(1, 1))
				masters := map[string][]float32{}
				for _, p := range r.Params() {
					v := numbers(t, p.Value)
					for i := range v {
						v[i] += 0.05 * float32(g.NormFloat64())
					}
					upload(t, p.Value, v)
					masters[p.Name] = v
				}
				if err := r.Updated(); err != nil {
					t.Fatal(err)
				}
				b := batch(chain(tokens(1, 40, r.model.HParams().NVocab)))
				logp, grads := r.pass(b, nil)
				path := filepath.Join(t.TempDir(), "written.gguf")
				if err := r.SaveModel(t.Context(), nil, path, "", 0); err != nil {
					t.Fatal(err)
				}
				for _, p := range r.Params() {
					if !slices.Equal(numbers(t, p.Value), masters[p.Name]) {
						t.Errorf("%s: its numbers are rounded themselves", p.Name)
					}
				}
				w := openRig(t, path, func(s *setup, c *adapter.Config) { c.Rank, s.Exact, s.Threads = 0, exact, 2 })
				for i := range w.model.File().Tensors {
					x := &w.model.File().Tensors[i]
					v, ok := masters[x.Name]
					if !ok {
						continue
					}
					want, err := ggml.Quantize(ggml.Type(x.Type), v, x.Shape[0])
					if err != nil {
						t.Fatal(err)
					}
					if data, err := w.model.File().Data(x); err != nil || !slices.Equal(data, want) {
						t.Errorf("%s: not its numbers as %v (%v)", x.Name, x.Type, err)
					}
				}
				if got := w.forward(b, engine.Options{})[engine.LogP]; !slices.Equal(got, logp) {
					t.Errorf("the file gives %v, training %v", got[:4], logp[:4])
				}
				if !exact {
					return
				}
				full := openRig(t, path, func(s *setup, c *adapter.Config) {
					c.Rank = 0
					s.Sets = []engine.Set{{Whole: whole}}
				})
				_, want := full.pass(b, nil)
				for name, d := range grads {
					if norm, _ := apart(float64s(d), float64s(want[name])); !(norm <= straightThrough) {
						t.Errorf("%s: gradients differ by %.2g", name, norm)
					}
				}
			})
		}
	}
}

// TestRoundedPlan: what rounded matrices take is planned.
func TestRoundedPlan(t *testing.T) {
	as := gguf.Q4_0
	plan := func(rounded bool) int64 {
		m, err := engine.Open(synth.Temp(t, synth.Tiny("llama", gguf.F32)))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		f, err := engine.Plan(m, engine.SessionConfig{Threads: 1,
			Sets: []engine.Set{{Whole: engine.Everything, Type: &as, Rounded: rounded}}},
			engine.Extent{Tokens: 16, Counted: 16, Row: 16})
		if err != nil {
			t.Fatal(err)
		}
		return f.Params
	}
	m, err := engine.Open(synth.Temp(t, synth.Tiny("llama", gguf.F32)))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	want := int64(0)
	for _, x := range m.File().Tensors {
		if len(x.Shape) > 1 {
			want += x.Elements() / 32 * 18
		}
	}
	if got := plan(true) - plan(false); got != want {
		t.Errorf("%d bytes are planned for rounded matrices, want %d", got, want)
	}
}
