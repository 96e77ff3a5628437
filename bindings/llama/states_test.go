package llama_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings/llama"
)

// states gives the states of positions, read in batches of n tokens.
func states(t *testing.T, m *llama.Model, ids []int32, positions []int, n int) (out [][]float32) {
	t.Helper()
	o := llama.VerifyContextOptions(256, 1)
	o.NBatch, o.Gives = n, llama.GivesStates
	err := newContext(t, m, o).EachState(t.Context(), ids, positions, func(at int, state []float32) error {
		if at != positions[len(out)] || len(state) != m.Info().NEmbd {
			t.Errorf("%d numbers at position %d", len(state), at)
		}
		out = append(out, slices.Clone(state))
		return nil
	})
	if err != nil || len(out) != len(positions) {
		t.Fatalf("%d states of %d: %v", len(out), len(positions), err)
	}
	return out
}

// story is a model with a text, and the states of all its positions.
func story(t *testing.T) (m *llama.Model, ids []int32, all [][]float32) {
	t.Helper()
	m = openTestModel(t, llama.VerifyModelOptions(), "models", "stories260K", "stories260K-f32.gguf")
	ids = encode(t, m, strings.Repeat("The dog and the cat went to the big park. ", 4))
	every := make([]int, len(ids))
	for i := range every {
		every[i] = i
	}
	return m, ids, states(t, m, ids, every, 64)
}

// The states of selected positions are those of all positions, whatever the batch size, and differ from each other.
func TestStatesPositionsAndBatches(t *testing.T) {
	const tolerance = 2e-4 // measured 7e-6
	m, ids, all := story(t)
	if slices.Equal(all[len(ids)-1], all[len(ids)-2]) {
		t.Error("two tokens have the same state")
	}
	for _, positions := range [][]int{{0}, {len(ids) - 1}, {0, 6, 7, 20}} {
		for i, state := range states(t, m, ids, positions, 7) {
			for j, x := range state {
				if d := math.Abs(float64(x - all[positions[i]][j])); !(d <= tolerance) {
					t.Fatalf("position %d: number %d is %v, want %v", positions[i], j, x, all[positions[i]][j])
				}
			}
		}
	}
}

// A pooled vector is the mean, the first or the last of the states, and all that has no pooling is refused.
func TestPooled(t *testing.T) {
	const tolerance = 1e-4 // measured 2e-6
	m, ids, all := story(t)
	mean := make([]float32, m.Info().NEmbd)
	for _, state := range all {
		for j, x := range state {
			mean[j] += x / float32(len(all))
		}
	}
	o := llama.VerifyContextOptions(len(ids), 1)
	o.Gives = llama.GivesPooled
	for pooling, want := range map[int][]float32{1: mean, 2: all[0], 3: all[len(all)-1]} {
		o.Pooling = pooling
		c := newContext(t, m, o)
		for range 2 {
			got, err := c.Pooled(t.Context(), ids)
			if err != nil {
				t.Fatal(err)
			}
			for j, x := range got {
				if d := math.Abs(float64(x - want[j])); !(d <= tolerance) || len(got) != len(want) {
					t.Fatalf("pooling %d: number %d of %d is %v, want %v", pooling, j, len(got), x, want[j])
				}
			}
		}
		if _, err := c.Pooled(t.Context(), append(ids, 1)); !errors.Is(err, llama.ErrContextFull) {
			t.Errorf("a longer text: %v", err)
		}
	}
	o.Pooling = 0
	_, err := newContext(t, m, o).Pooled(t.Context(), ids)
	if err == nil || !strings.Contains(err.Error(), "gives nothing") {
		t.Errorf("a file that says nothing of pooling: %v", err)
	}
	o.NCtx = m.Info().NCtxTrain + 1
	if _, err := m.NewContext(o); err == nil || !strings.Contains(err.Error(), "and the model takes") {
		t.Errorf("longer texts than the model takes: %v", err)
	}
}

// A context is asked only for what it was opened for.
func TestContextGivesOneThing(t *testing.T) {
	m := openTestModel(t, llama.VerifyModelOptions(), "models", "stories260K", "stories260K-f32.gguf")
	o := llama.VerifyContextOptions(16, 1)
	plain := newContext(t, m, o)
	o.Gives = llama.GivesStates
	c := newContext(t, m, o)
	ctx, nothing := t.Context(), func(int, []float32) error { return nil }
	sampler, err := llama.NewSampler(llama.Greedy())
	if err != nil {
		t.Fatal(err)
	}
	defer sampler.Close()
	ranks := func(c *llama.Context) error { _, err := c.Ranks(ctx, []int32{1}); return err }
	for name, do := range map[string]func() error{
		"states of a context for logits": func() error { return plain.EachState(ctx, []int32{1}, []int{0}, nothing) },
		"ranks of a context for logits":  func() error { return ranks(plain) },
		"ranks of a context for states":  func() error { return ranks(c) },
		"logits of a context for states": func() error { return c.EachLogits(ctx, []int32{1}, nil, nothing) },
		"a token of it":                  func() error { return c.Decode(ctx, []int32{1}) },
		"tokens of its sequences": func() error {
			return c.ReadEach(ctx, []llama.Next{{Token: 1, Want: true}}, nil)
		},
		"its speed": func() error { _, err := c.PromptTime(ctx, 4); return err },
	} {
		if err := do(); err == nil || !strings.Contains(err.Error(), "was opened for") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := c.EachState(ctx, []int32{1}, []int{0}, nothing); err != nil {
		t.Fatal(err)
	}
	if _, err := sampler.Sample(c); err == nil {
		t.Error("sampled from a context without logits")
	}
	for name, positions := range map[string][]int{"negative": {-1}, "beyond": {1}, "twice": {0, 0}} {
		if err := c.EachState(ctx, []int32{1}, positions, nothing); err == nil {
			t.Errorf("a position that is %s: accepted", name)
		}
	}
	cancelled, cancel := context.WithCancelCause(ctx)
	why := errors.New("why")
	cancel(why)
	if err := c.EachState(cancelled, []int32{1}, []int{0}, nothing); !errors.Is(err, why) {
		t.Errorf("cancelled: %v", err)
	}
	o.Sequences = 2
	if _, err := m.NewContext(o); err == nil {
		t.Error("states of two sequences: accepted")
	}
	o.Sequences, o.Gives = 1, llama.GivesRanks
	if _, err := m.NewContext(o); err == nil || !strings.Contains(err.Error(), "no classification head") {
		t.Errorf("ranks of a model without a head: %v", err)
	}
	o.Gives = llama.GivesPooled + 1
	if _, err := m.NewContext(o); err == nil {
		t.Error("an unknown thing: accepted")
	}
}
