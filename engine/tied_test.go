package engine_test

import (
	"math"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// TestTied: gradients of tied numbers are the mean of what they are untied, over one pass and over two, and are told of
// when they are; others are as they were.
func TestTied(t *testing.T) {
	m, err := engine.Open(synth.Temp(t, synth.Tiny("llama", gguf.Q4_1)))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a, err := adapter.New(m.Net(), adapter.Config{Rank: 4, Alpha: 8, Init: "kaiming", Seed: 5, Block: 32})
	if err != nil {
		t.Fatal(err)
	}
	for i := range a.Pairs {
		for j := range a.Pairs[i].B {
			a.Pairs[i].B[j] = float32((i+3*j)%5-2) / 50
		}
	}
	grads := func(block int64, passes int, told bool) map[string][]float32 {
		a.Block = block
		s, err := engine.NewSession(m, engine.SessionConfig{Threads: 1, Exact: true, Sets: []engine.Set{{Adapter: a}}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		row := engine.PlainRow([]int32{5, 9, 17, 33, 70, 12, 8})
		coef := make([]float32, len(row.Counted))
		for i := range coef {
			coef[i] = -1
		}
		out := map[string][]float32{}
		var ready func(p *engine.Param) error
		read := func(p *engine.Param) error {
			g, err := p.Grad.All()
			out[p.Name] = g
			return err
		}
		if told {
			ready = read
		}
		for range passes {
			if _, err := s.Forward(t.Context(), &engine.Batch{Rows: []engine.Row{row}},
				engine.Options{Backward: true}); err != nil {
				t.Fatal(err)
			}
			if err := s.Backward(t.Context(), engine.Outputs{engine.LogP: coef}, ready); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range s.Params() {
			if !told {
				if err := read(p); err != nil {
					t.Fatal(err)
				}
			}
		}
		return out
	}
	free := grads(0, 1, false)
	for name, tied := range map[string]map[string][]float32{"once": grads(32, 1, false), "twice": grads(32, 2, false),
		"told": grads(32, 1, true)} {
		times := 1.0
		if name == "twice" {
			times = 2
		}
		for param, g := range tied {
			isA := len(param) > 7 && param[len(param)-7:] == ".lora_a"
			for i, v := range g {
				want := float64(free[param][i])
				if isA {
					want = 0
					for _, x := range free[param][i/32*32 : i/32*32+32] {
						want += float64(x) / 32
					}
				}
				if want *= times; math.Abs(float64(v)-want) > 1e-5*math.Max(1e-3, math.Abs(want)) {
					t.Fatalf("%s: %s: gradient %d is %g, want %g", name, param, i, v, want)
				}
				if isA && v != g[i/32*32] {
					t.Fatalf("%s: %s: gradient %d is %g, and its neighbour's %g", name, param, i, v, g[i/32*32])
				}
			}
		}
	}
}
