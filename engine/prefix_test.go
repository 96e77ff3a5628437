package engine_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// TestPrefixGivesTheSameBits: what a token is worth follows from the tokens before it alone, to the bit: not from those
// behind it, nor from other answers to its prompt, nor from where in the row it lies. So a ratio to what another pass
// over other rows found is 1 until the weights change, and whatever decodes token by token with these kernels can agree
// with training exactly.
func TestPrefixGivesTheSameBits(t *testing.T) {
	for _, name := range arch.Predicting() {
		types := []gguf.Type{gguf.Q8_0}
		if everyType(t, name) {
			types = []gguf.Type{gguf.F32, gguf.F16, gguf.Q8_0, gguf.Q4_0, gguf.Q4_K, gguf.Q6_K}
		}
		for _, typ := range types {
			bothModes(t, name, typ)
		}
	}
	atLevels(t, func(l kernels.Level) {
		t.Run(l.String(), func(t *testing.T) { bothModes(t, "llama", gguf.Q8_0) })
	})
}

func bothModes(t *testing.T, name string, typ gguf.Type) {
	for _, exact := range []bool{false, true} {
		t.Run(fmt.Sprintf("%s %v exact=%t", name, typ, exact), func(t *testing.T) {
			spec := synth.Tiny(name, typ)
			prefixes(t, newRig(t, spec, func(c *setup, _ *adapter.Config) { c.Exact = exact }), spec.Vocab)
		})
	}
}

// prefixes holds the answers of a tree against each of them alone, cut short.
func prefixes(t *testing.T, s *rig, vocab int) {
	r := rand.New(rand.NewPCG(7, 8))
	const prompt, answer, answers = 9, 36, 3
	whole := engine.Row{Segments: []engine.Segment{{Len: prompt, Parent: -1}}}
	for i := range prompt + answers*answer {
		whole.Tokens = append(whole.Tokens, int32(r.IntN(vocab)))
		if i >= prompt {
			whole.Counted = append(whole.Counted, int32(i))
		}
	}
	for k := range answers {
		whole.Segments = append(whole.Segments, engine.Segment{Start: prompt + k*answer, Len: answer})
	}
	logp := func(row engine.Row) []float32 {
		out, err := s.Forward(t.Context(), &engine.Batch{Rows: []engine.Row{row}}, engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return out[engine.LogP]
	}
	want := logp(whole)
	for k := range answers {
		for _, n := range []int{1, 2, 3, 5, 8, 17, 31, answer} {
			at := prompt + k*answer
			row := engine.Row{Tokens: append(append([]int32{}, whole.Tokens[:prompt]...), whole.Tokens[at:at+n]...),
				Segments: []engine.Segment{{Len: prompt, Parent: -1}, {Start: prompt, Len: n}},
				Counted:  []int32{int32(prompt + n - 1)}}
			if got, want := logp(row)[0], want[k*answer+n-1]; math.Float32bits(got) != math.Float32bits(want) {
				t.Errorf("answer %d, token %d: %g by itself, %g in the whole", k, n, got, want)
			}
		}
	}
}
