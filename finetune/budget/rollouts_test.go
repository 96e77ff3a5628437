package budget

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/rollout"
)

// TestPlanRollouts: there is room for the longest prompt and its answer, and copies of weights are made as asked.
func TestPlanRollouts(t *testing.T) {
	m, err := engine.Open(synth.Temp(t, synth.Tiny("llama", gguf.Q4_K)))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := config.Default()
	c.Model, c.Threads, c.SeqLen, c.MaxCompletion = m.Path(), 1, 96, 32
	c.NumGenerations = config.Fixed(3)
	for _, lean := range []bool{false, true} {
		c.RolloutLean = lean
		open, memory, err := PlanRollouts(&c, m, nil)
		if err != nil || open.Lean != lean || open.Ctx != 96 || open.Parallel != 16 || memory.Total() == 0 {
			t.Errorf("lean %v: %+v, %+v, %v", lean, open, memory, err)
		}
	}
	c.RolloutPrompts = 4
	if open, _, err := PlanRollouts(&c, m, nil); err != nil || open.Parallel != 12 {
		t.Errorf("3 answers to each of 4 prompts are written %d at a time; %v", open.Parallel, err)
	}
	if config.MostParallel != llama.MaxSequences() {
		t.Errorf("--rollout-parallel goes to %d, llama.cpp's contexts have up to %d sequences", config.MostParallel,
			llama.MaxSequences())
	}
}

// TestFitRollouts: where memory is short fewer answers are written at a time, then without copies of weights, then
// fewer still; the settings hold what was decided, and a run that goes on decides nothing.
func TestFitRollouts(t *testing.T) {
	spec := synth.Tiny("llama", gguf.Q4_K)
	spec.Embd, spec.FF, spec.HeadDim, spec.Layers = 512, 2048, 64, 8 // llama.cpp tells whole MiB
	m, err := engine.Open(synth.Temp(t, spec))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := config.Default()
	c.Model, c.Threads, c.SeqLen, c.MaxCompletion, c.Rank = m.Path(), 1, 96, 32, 2
	c.NumGenerations = config.Fixed(8)
	sc, err := c.Session(m)
	if err != nil {
		t.Fatal(err)
	}
	shape := Shape{Row: 96, Counted: 32, Rows: 1}
	open, takes, err := PlanRollouts(&c, m, nil)
	has, featuresErr := llama.Features()
	if err := errors.Join(err, featuresErr); err != nil || takes.KV == 0 || takes.Repacked == 0 && has["REPACK"] {
		t.Fatalf("%+v, %v", takes, err)
	}
	fit := func(c *config.Config, free int64) (Memory, rollout.Config, string, error) {
		open, takes := open, takes
		b, note, err := FitRollouts(m, sc, c, shape, withoutSamples, &open, &takes, free)
		return b, open, note, err
	}
	all, got, note, err := fit(&c, 0)
	if err != nil || got != open || note != "" {
		t.Fatalf("all the room there is: %+v, %q, %v", got, note, err)
	}
	weights := m.File().Bytes()
	saves := func(parallel int, lean bool) int64 {
		o := open
		o.Parallel, o.Lean = parallel, lean
		memory, err := rollout.PlanMemory(o)
		if err != nil {
			t.Fatal(err)
		}
		return takes.Total() - memory.Total()
	}
	const more = 1 << 18 // what llama.cpp has given out differs by some bytes from call to call
	for _, tc := range []struct {
		name     string
		less     int64
		parallel int
		lean     bool
	}{
		{"none", 0, 16, false},
		{"a byte", 1, 8, false},
		{"more than keys and values of 8", saves(8, false) + more, 16, true},
		{"more than those and copies", saves(8, true) + more, 4, true},
	} {
		c := c
		_, got, note, err := fit(&c, all.Total+weights-tc.less)
		if takes.Repacked == 0 && tc.lean {
			continue
		}
		if err != nil || got.Parallel != tc.parallel || got.Lean != tc.lean || c.RolloutLean != tc.lean ||
			(note != "") != (tc.less > 0) || note != "" && c.RolloutParallel != tc.parallel {
			t.Errorf("%s too little: %d at a time, lean %v, %q, %v; want %d, %v", tc.name, got.Parallel, got.Lean, note,
				err, tc.parallel, tc.lean)
		}
	}
	c.Resume = true
	if _, got, note, err := fit(&c, all.Total-1); err == nil || got != open || note != "" {
		t.Errorf("a run that goes on with too little: %+v, %q, %v", got, note, err)
	}
	c.Resume = false
	_, _, _, err = fit(&c, 1000)
	if err == nil || !strings.Contains(err.Error(), "a lower --max-completion-length") {
		t.Fatalf("1000 bytes: got %v", err)
	}
	if _, first := PlanMemory(m, sc, &c, shape, withoutSamples, takes, 1000); first == nil ||
		first.Error() == err.Error() {
		t.Errorf("what is said to be needed is not that of writing in the least memory: %v", err)
	}
	shape.Rows = 2
	one := all.Total - all.Keep
	_, _, _, err = fit(&c, one-saves(1, true)+more)
	if err == nil || !strings.Contains(err.Error(), "--batch 1 would fit") {
		t.Errorf("two rows where one has room: got %v", err)
	}
}

// TestExpectedLen: answers that end at any token alike, of which some were cut off, are as long as they are.
func TestExpectedLen(t *testing.T) {
	for _, tc := range []struct {
		ended, tokens, most int
		want                float64
	}{{0, 160, 128, 128}, {16, 160, 1 << 20, 10}, {10, 10, 128, 1}, {4, 16, 2, 1.75}} {
		if got := expectedLen(tc.ended, tc.tokens, tc.most); math.Abs(got-tc.want) > 1e-9 {
			t.Errorf("%+v: got %g", tc, got)
		}
	}
}
