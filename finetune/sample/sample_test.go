package sample

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/report"
)

// tiny plans samples of a generated model with two prompts, and an adapter that changes what it says.
func tiny(t *testing.T) (*Plan, *config.Config, *adapter.Adapter) {
	t.Helper()
	c := config.Default()
	c.Model, c.Threads, c.SampleTokens = synth.Temp(t, synth.Tiny("llama", gguf.F32)), 2, 6
	m, err := engine.Open(c.Model)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	p, err := NewPlan(&c, m,
		[]corpus.Prompt{{Input: "a", Tokens: []int32{5, 6, 7}}, {Input: "b", Tokens: []int32{8, 9}}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := adapter.New(m.Net(), adapter.Config{Rank: 2, Alpha: 4, Init: "gaussian"})
	if err != nil {
		t.Fatal(err)
	}
	a.Halves(func(_ string, values []float32) {
		for i := range values {
			values[i] = float32(i%7) - 3
		}
	})
	return p, &c, a
}

func opened(t *testing.T, p *Plan, c *config.Config) *Sampler {
	t.Helper()
	s, err := p.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func answer(t *testing.T, s *Sampler, i int) report.Sample {
	t.Helper()
	x, err := s.Answer(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestBegin: a round that has too little room does not begin, is no error, and is not tried again with as little; a
// stop is the stop's cause.
func TestBegin(t *testing.T) {
	p, c, a := tiny(t)
	s := opened(t, p, c)
	for range 2 {
		if ok, err := s.Begin(t.Context(), a, 1e-9); ok || err != nil {
			t.Errorf("no room: got %v, %v", ok, err)
		}
	}
	if s.least <= 1e-9 {
		t.Errorf("%g seconds are tried again", s.least)
	}
	cause := errors.New("told to stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if ok, err := s.Begin(ctx, a, math.Inf(1)); ok || !errors.Is(err, cause) {
		t.Errorf("told to stop: got %v, %v", ok, err)
	}
	if ok, err := s.Begin(t.Context(), a, math.Inf(1)); !ok || err != nil {
		t.Fatalf("all the room there is: got %v, %v", ok, err)
	}
	if s.Cost(0) <= 0 || s.Cost(0) <= s.Cost(1) {
		t.Errorf("a longer prompt costs %g, another %g seconds", s.Cost(0), s.Cost(1))
	}
	took := s.least
	if ok, err := s.Begin(t.Context(), a, s.least+s.Cost(0)/2); ok || err != nil || s.least != took {
		t.Errorf("room to measure and not to answer: got %v, %v, and measured again: %v", ok, err, s.least != took)
	}
	before := s.Cost(1)
	answer(t, s, 1)
	if after := s.Cost(1); after >= before {
		t.Errorf("with the base's answer it costs %g, before %g seconds", after, before)
	}
	if p.Bytes(1000) <= p.Bytes(0) || (*Plan)(nil).Bytes(1000) != 0 {
		t.Errorf("got %d and %d bytes", p.Bytes(1000), p.Bytes(0))
	}
}

// TestAnswer: the base's answer is written once, or taken from before, and the adapter's follows its numbers; with a
// temperature the same seed draws the same.
func TestAnswer(t *testing.T) {
	p, c, a := tiny(t)
	s := opened(t, p, c)
	begin := func(s *Sampler) {
		t.Helper()
		if ok, err := s.Begin(t.Context(), a, math.Inf(1)); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	begin(s)
	first := answer(t, s, 0)
	if first.Base == first.Tuned || first.BaseTokens == 0 || first.Input != "a" || first.MaxTokens != 6 {
		t.Errorf("got %+v", first)
	}
	for i := range a.Pairs {
		clear(a.Pairs[i].B)
	}
	begin(s)
	if x := answer(t, s, 0); x.Tuned != first.Base || x.Base != first.Base {
		t.Errorf("an adapter of zeros: got %q, want the base's %q", x.Tuned, first.Base)
	}
	known := first
	known.Base = "from before"
	other := opened(t, p, c)
	other.Remember([]report.Sample{known})
	begin(other)
	if x := answer(t, other, 0); x.Base != known.Base {
		t.Errorf("got %q, want the base's answer of before", x.Base)
	}
	c.SampleTemp = 1
	drawn := opened(t, p, c)
	drawn.Remember([]report.Sample{known}) // of the likeliest tokens
	begin(drawn)
	x := answer(t, drawn, 0)
	again := opened(t, p, c)
	begin(again)
	if y := answer(t, again, 0); x.Base != y.Base || x.Base == known.Base || x.Temp != 1 {
		t.Errorf("drawn: got %q, and then %q", x.Base, y.Base)
	}
}
