package run

import (
	"path/filepath"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/report"
)

// TestOwnRollouts: where the engine that trains writes the answers, no token is as likely to the one as to the other
// but exactly, in every rollout, whatever has been learned before; and it learns as through llama.cpp.
func TestOwnRollouts(t *testing.T) {
	c := rollConfig(t, "grpo")
	c.Model, c.RolloutEngine = synth.Temp(t, synth.Tiny("llama", gguf.Q8_0)), "ggtune"
	c.Steps, c.EvalEvery, c.LR = 24, config.Fixed(12), config.Fixed(5e-3)
	rec := &recorder{}
	if _, err := Train(t.Context(), c, rec); err != nil {
		t.Fatal(err)
	}
	rewards := rec.evaluated("reward")
	if first, last := rewards[0], rewards[len(rewards)-1]; last < first+0.1 {
		t.Errorf("held-out rewards %v: want that they rise", rewards)
	}
	exact(t, c)
	for i, l := range metrics(t, c.Output) {
		if l.Figures["approx_kl"] != 0 || l.Figures["ratio"] != 1 {
			t.Errorf("step %d: the model was another one when it wrote the answers: %v", i+1, l.Figures)
		}
	}
	e := c
	e.NumGenerations = config.Fixed(2)
	got, err := Evaluate(t.Context(), e, filepath.Join(c.Output, fileAdapter), nil, report.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Rows != 40 || got.Tokens < 2*40 {
		t.Errorf("evaluated on %d prompts with %d tokens written, want 2 answers to each of 40", got.Rows, got.Tokens)
	}
}

// exact wants that no rollout of a run was written by another distribution than training sees.
func exact(t *testing.T, c config.Config) {
	t.Helper()
	for i, l := range metrics(t, c.Output) {
		mean, rolled := l.Figures["mismatch"]
		if !rolled || mean != 0 || l.Figures["mismatch_max"] != 0 || l.Figures["ess"] != 1 || l.Figures["capped"] != 0 {
			t.Errorf("step %d: written by another distribution than it is trained on: %v", i+1, l.Figures)
		}
	}
}

// TestOwnRolloutsOfEveryMethod: also where answers are gone through several times, and beside a reference and values.
func TestOwnRolloutsOfEveryMethod(t *testing.T) {
	for _, name := range method.Names() {
		how, err := method.Get(name)
		if err != nil || how.Need != method.Rollouts || !how.Rewarded() { // else nothing is said of the writer
			continue
		}
		for _, values := range []string{"shared", "own"} {
			if values == "own" && how.Value == method.NoValues {
				continue
			}
			t.Run(name+" "+values, func(t *testing.T) {
				c := rollConfig(t, name)
				c.Model = synth.Temp(t, synth.Tiny("llama", gguf.Q4_0))
				c.RolloutEngine, c.ValueAdapter = "ggtune", values
				c.Steps, c.EvalEvery, c.LR, c.NumGenerations = 4, config.Fixed(0), config.Fixed(5e-3), config.Fixed(4)
				if _, err := Train(t.Context(), c, report.Silent{}); err != nil {
					t.Fatal(err)
				}
				exact(t, c)
			})
		}
	}
}
