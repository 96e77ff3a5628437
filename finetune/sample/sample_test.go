package sample

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
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
	c.Model, c.Threads, c.SampleTokens = synth.Temp(t, synth.Tiny("llama", gguf.F32)), 1, 6
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
	x, ok, err := s.Answer(t.Context(), i, math.Inf(1))
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	return x
}

// TestBegin: a round that has too little room does not begin, is no error, and is not tried again with as little; a
// stop is the stop's cause; the speed is measured once.
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
	known := s.speed
	if ok, err := s.Begin(t.Context(), a, 0); !ok || err != nil || s.speed != known {
		t.Errorf("a second round: got %v, %v, and measured again: %v", ok, err, s.speed != known)
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

// TestShorten: answers get shorter until all of them fit, and no shorter than a line; the base's answer is written
// anew where it was cut off elsewhere, and counts.
func TestShorten(t *testing.T) {
	p, c, _ := tiny(t)
	for _, tc := range []struct {
		most, want int
		room       float64
	}{
		{64, 64, 256.1}, {64, 32, 255.9}, {64, 32, 128.1}, {64, 16, 127.9}, {64, 16, 0}, {40, 20, 80.1}, {40, 16, 79.9},
		{20, 16, 0}, {16, 16, 0}, {6, 6, 0}, {64, 64, math.Inf(1)},
	} {
		c.SampleTokens = tc.most
		s := opened(t, p, c)
		s.speed = speed{write: 1} // two prompts, two answers to each
		if got := s.Shorten([]int{0, 1}, tc.room); got != tc.want {
			t.Errorf("%d tokens and %g seconds: got %d, want %d", tc.most, tc.room, got, tc.want)
		}
	}
	c.SampleTokens = 64
	s := opened(t, p, c)
	s.speed = speed{write: 1}
	s.Remember([]report.Sample{{Input: "a", MaxTokens: 64, BaseTokens: 64, BaseEnd: "length"},
		{Input: "b", MaxTokens: 64, BaseTokens: 20, BaseEnd: "end"}})
	for _, tc := range []struct{ prompt, want int }{
		{0, 64 * 2}, // cut off after 32 tokens it is another answer
		{1, 64},
	} {
		s.Shorten([]int{tc.prompt}, 0)
		if s.tokens = 32; s.Cost(tc.prompt) != float64(tc.want/2) {
			t.Errorf("prompt %d: 32 tokens cost %g, want %d", tc.prompt, s.Cost(tc.prompt), tc.want/2)
		}
		if s.tokens = 64; s.Cost(tc.prompt) != 64 {
			t.Errorf("prompt %d: 64 tokens cost %g, want 64", tc.prompt, s.Cost(tc.prompt))
		}
	}
	if s.tokens = 20; s.Cost(1) != 40 {
		t.Errorf("an answer that ended behind its 20th token costs %g where that is the last, want 40", s.Cost(1))
	}
}

// TestSlowAnswer: an answer that takes longer than there is room for is given up, and is no error; after one that took
// much longer than foretold the speed is measured anew.
func TestSlowAnswer(t *testing.T) {
	p, c, a := tiny(t)
	s := opened(t, p, c)
	if ok, err := s.Begin(t.Context(), a, math.Inf(1)); !ok || err != nil {
		t.Fatal(ok, err)
	}
	s.speed = speed{1, 1}
	if _, ok, err := s.Answer(t.Context(), 0, 1e-9); ok || err != nil || s.speed != (speed{}) {
		t.Errorf("no room: got %v, %v, the speed %v", ok, err, s.speed)
	}
	s.speed = speed{1, 1}
	if answer(t, s, 0); s.speed != (speed{1, 1}) {
		t.Error("an answer that was faster than foretold: its speed is forgotten")
	}
	s.speed = speed{1e-12, 1e-12}
	if x := answer(t, s, 0); x.Seconds <= 0 || s.speed != (speed{}) {
		t.Errorf("a slow answer: %g seconds, the speed %v", x.Seconds, s.speed)
	}
	if ok, err := s.Begin(t.Context(), a, math.Inf(1)); !ok || err != nil || s.speed.write <= 0 {
		t.Errorf("the round after: got %v, %v, the speed %v", ok, err, s.speed)
	}
}

// TestDisk: what is planned for samples.jsonl holds the lines that are written, and is not far above them.
func TestDisk(t *testing.T) {
	p, c, a := tiny(t)
	s := opened(t, p, c)
	if ok, err := s.Begin(t.Context(), a, math.Inf(1)); !ok || err != nil {
		t.Fatal(ok, err)
	}
	path := filepath.Join(t.TempDir(), "samples.jsonl")
	l, err := report.OpenSamples(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const rounds = 3
	for step := range rounds {
		for i := range s.Len() {
			x := answer(t, s, i)
			x.Step = step + 1
			if err := l.Append(x); err != nil {
				t.Fatal(err)
			}
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Disk(rounds); got < info.Size()*9/10 || got > info.Size()*3/2 {
		t.Errorf("planned %d bytes, and %d were written", got, info.Size())
	}
	if n := (*Plan)(nil).Disk(rounds); n != 0 {
		t.Errorf("no samples: got %d bytes", n)
	}
}
