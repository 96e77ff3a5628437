package budget

import (
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/config"
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
	for _, lean := range []bool{false, true} {
		c.RolloutLean = lean
		open, memory, err := PlanRollouts(&c, m, nil)
		if err != nil || open.Lean != lean || open.Ctx != 96 || memory.KV == 0 {
			t.Errorf("lean %v: %+v, %+v, %v", lean, open, memory, err)
		}
	}
}
