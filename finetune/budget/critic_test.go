package budget

import (
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/config"
)

// TestPlanCritic: where values are of an adapter of their own, memory is planned for the larger of the passes: that of
// the critic, where the policy goes on from an adapter of fewer layers.
func TestPlanCritic(t *testing.T) {
	m, err := engine.Open(synth.Temp(t, synth.Tiny("llama", gguf.Q8_0)))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := config.Default()
	c.Model, c.Threads, c.Method, c.ValueAdapter, c.Rank = m.Path(), 1, "ppo", "own", 2
	sc, err := c.Session(m)
	if err != nil {
		t.Fatal(err)
	}
	small := c
	small.ValueAdapter, small.Targets, small.Layers = "shared", []string{"attn_q"}, "1"
	policy, err := small.Session(m)
	if err != nil {
		t.Fatal(err)
	}
	how, err := c.Loss()
	if err != nil {
		t.Fatal(err)
	}
	s := Shape{Row: 64, Counted: 8, Rows: 1, Want: c.Wants(how)}
	total := func(policy engine.Set, critic bool) int64 {
		sc.Sets[0], s.Critic = policy, critic
		f, err := s.footprint(m, sc)
		if err != nil {
			t.Fatal(err)
		}
		return f.Total()
	}
	full := sc.Sets[0]
	if a, b := total(full, false), total(full, true); a != b {
		t.Errorf("of two adapters alike the policy's pass takes %d, both %d", a, b)
	}
	policy.Sets[0].Heads = nil
	if a, b := total(policy.Sets[0], false), total(policy.Sets[0], true); a >= b {
		t.Errorf("the pass of a policy of one layer takes %d, the critic's %d", a, b)
	}
}
