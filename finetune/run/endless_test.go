package run

import (
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/config"
)

// TestEndless: a model that has no token to end an answer with is trained, and it is said which word is taken for one.
func TestEndless(t *testing.T) {
	c := rollConfig(t, "grpo")
	c.Model, c.Steps, c.EvalSplit, c.EvalEvery, c.Reward = synth.Endless(t), 2, config.Fixed(0.0), config.Fixed(0),
		[]string{"repetition=1", "regex=[aeiou]"}
	rec := &recorder{}
	if _, err := Train(t.Context(), c, rec); err != nil {
		t.Fatal(err)
	}
	want := c.Model + " has no token that ends a text, and llama.cpp takes \""
	if !strings.Contains(rec.notes(), want) {
		t.Errorf("noted %s, want %s", rec.notes(), want)
	}
}
