package bench

import (
	"context"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// TestRollouts: all ways are measured of each model, all at a time in fewer computations; what K types are copied into
// is counted; and where positions end so do prompt and answers.
func TestRollouts(t *testing.T) {
	c := quick(synth.Temp(t, synth.Tiny("llama", gguf.Q4_K)))
	c.Targets = append(c.Targets, Target{Path: synth.Temp(t, synth.Tiny("gpt2", gguf.F32))})
	c.Rollout, c.Rounds = true, 1
	r, err := Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rollouts) != 6 || r.Cases != nil || r.Peaks != nil {
		t.Fatalf("%d ways of writing for two models, %d cases, %d peaks", len(r.Rollouts), len(r.Cases), len(r.Peaks))
	}
	for i, x := range r.Rollouts {
		if x.Repacked != (i%3 == 0) || (x.Engine == "ggtune") != (i%3 == 2) ||
			!(x.One > 0 && x.All > 0 && x.PP > 0) || x.KVBytes == 0 || x.Rank != c.Rank {
			t.Errorf("way %d: %+v", i, x)
		}
		if x.Ratio != x.All/x.One || x.OfPrompt != x.All/x.PP {
			t.Errorf("way %d: of one round with %g, %g and prompts %g tok/s the ratios are %g and %g", i, x.One, x.All,
				x.PP, x.Ratio, x.OfPrompt)
		}
	}
	if x := r.Rollouts[0]; x.Prompt != 200 || x.Answers != 8 || x.Tokens != 100 || x.Type != "q4_K" {
		t.Errorf("got %+v", x)
	}
	if x := r.Rollouts[3]; x.Prompt+x.Tokens != 128 || x.Tokens < 40 {
		t.Errorf("of a model with 128 positions: a prompt of %d, answers of %d", x.Prompt, x.Tokens)
	}
}
