package budget

import (
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/config"
)

// TestFitOwnRollouts: where the session that trains writes the answers, their keys and values are part of what it
// takes, llama.cpp takes nothing, and where memory is short fewer are written at a time.
func TestFitOwnRollouts(t *testing.T) {
	m, err := engine.Open(synth.Temp(t, synth.Tiny("llama", gguf.Q4_0)))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := config.Default()
	c.Model, c.Threads, c.SeqLen, c.MaxCompletion, c.Rank, c.RolloutEngine = m.Path(), 1, 96, 32, 2, "ggtune"
	c.NumGenerations = config.Fixed(8)
	sc, err := c.Session(m)
	if err != nil {
		t.Fatal(err)
	}
	shape := Shape{Row: 96, Counted: 32, Rows: 1}
	open, takes, err := PlanRollouts(&c, m, nil)
	if err != nil || open.Own == nil || open.Own.Samples != 8 || takes.Total() != 0 {
		t.Fatalf("%+v, %+v, %v", open, takes, err)
	}
	all, note, err := FitRollouts(m, sc, &c, shape, withoutSamples, &open, &takes, 0)
	if err != nil || note != "" || open.Parallel != 16 {
		t.Fatalf("%+v, %q, %v", open, note, err)
	}
	none, err := PlanMemory(m, sc, &c, shape, withoutSamples, takes, 0)
	if err != nil {
		t.Fatal(err)
	}
	// 2 layers, 2 heads of 16 elements, keys and values of at least 16 texts of 96 tokens, in 16 or, where the CPU has
	// no BF16, 32 bits, and up to 2.5 times as much for pages that are not full.
	if least := int64(2 * 2 * 16 * 2 * 2 * 16 * 96); all.Rollouts < least || all.Rollouts > 5*least ||
		all.Total-none.Total < all.Rollouts {
		t.Errorf("keys and values take %d bytes of %d, %d without them; want %d or somewhat more", all.Rollouts,
			all.Total, none.Total, least)
	}
	some, note, err := FitRollouts(m, sc, &c, shape, withoutSamples, &open, &takes, all.Total+m.File().Bytes()-1)
	if err != nil || note == "" || open.Parallel != 8 || c.RolloutParallel != 8 || some.Rollouts > all.Rollouts*2/3 {
		t.Errorf("with a byte too little: %+v, %q, %v, %d bytes of %d", open, note, err, some.Rollouts, all.Rollouts)
	}
}
