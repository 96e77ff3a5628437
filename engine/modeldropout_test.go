package engine_test

import (
	"slices"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// TestModelDropout: what is dropped follows from the seed, the micro-batch and a token's place alone: two views of one
// text in a row differ; the same pass again is the same, another micro-batch or seed another one; and a pass without
// dropout is that of a session without any.
func TestModelDropout(t *testing.T) {
	for _, name := range []string{"bert", "llama"} {
		t.Run(name, func(t *testing.T) {
			spec := synth.Tiny(name, gguf.F32)
			open := func(rate float64, seed uint64) *rig {
				return newRig(t, spec, func(c *setup, a *adapter.Config) {
					c.ModelDropout, c.Seed, a.Rank = rate, seed, 0
				})
			}
			text := tokens(1, 9, spec.Vocab)
			twice := engine.Row{Tokens: slices.Concat(text, text), Pooled: []int32{0, 1},
				Segments: []engine.Segment{{Len: 9, Parent: -1}, {Start: 9, Len: 9, Parent: -1}}}
			views := func(r *rig, step uint64, drop bool) []float32 {
				return r.forward(&engine.Batch{Rows: []engine.Row{twice}, DropoutStep: step}, engine.Options{
					Want: []*engine.Output{engine.Pooled}, Pooling: arch.PoolMean, Dropout: drop})[engine.Pooled]
			}
			r := open(0.1, 1)
			first := views(r, 3, true)
			half := len(first) / 2
			if slices.Equal(first[:half], first[half:]) {
				t.Error("two views of one text are equal")
			}
			if !slices.Equal(first, views(r, 3, true)) {
				t.Error("the same pass gives something else")
			}
			if slices.Equal(first, views(r, 4, true)) || slices.Equal(first, views(open(0.1, 2), 3, true)) {
				t.Error("another micro-batch, or another seed, has the same mask")
			}
			if !slices.Equal(views(r, 3, false), views(open(0, 1), 3, true)) {
				t.Error("a pass without dropout drops")
			}
		})
	}
}
