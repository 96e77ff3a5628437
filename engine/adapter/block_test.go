package adapter_test

import (
	"slices"
	"testing"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// TestBlock: A begins the same over each block of inputs, other blocks with other numbers; so does what it adds to a
// weight. Where it is not, that is refused.
func TestBlock(t *testing.T) {
	net := sizes(t, synth.Tiny("llama", gguf.F32))
	for _, init := range adapter.Inits() {
		a, err := adapter.New(net, config(func(c *adapter.Config) { c.Init, c.Block = init, 32 }))
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Tie(32); err != nil || a.Block != 32 {
			t.Errorf("%s: %v", init, err)
		}
		p := &a.Pairs[0]
		if p.A[0] != p.A[31] || p.A[0] == p.A[32] {
			t.Errorf("%s: A begins with %v", init, p.A[:33])
		}
		checkSpreadOf(t, init, p)
		for i := range a.Pairs {
			for j := range a.Pairs[i].B {
				a.Pairs[i].B[j] = float32(j%7) - 3
			}
		}
		s, err := adapter.NewSum(adapter.Scaled{Adapter: a, Scale: 1})
		if err != nil {
			t.Fatal(err)
		}
		if !s.Blocks(p.Tensor, 32) || s.Blocks(p.Tensor, 64) {
			t.Errorf("%s: blocks of 32 %v, of 64 %v; want those of 32 alone", init, s.Blocks(p.Tensor, 32),
				s.Blocks(p.Tensor, 64))
		}
		x := make([]float32, p.AShape[0])
		if s.AddTo(p.Tensor, 1, x, p.AShape[0]); x[0] != x[31] || x[0] == x[32] {
			t.Errorf("%s: a row changes by %v", init, x[:33])
		}
		p.A[5]++
		refused(t, a.Tie(32), p.Tensor, "--mergeable")
	}
	free, err := adapter.New(net, config(func(c *adapter.Config) { c.Targets = []string{"token_embd"} }))
	if err != nil {
		t.Fatal(err)
	}
	refused(t, free.Tie(32), "token_embd")
}

// checkSpreadOf looks at one number of each block.
func checkSpreadOf(t *testing.T, init string, p *adapter.Pair) {
	t.Helper()
	seen := map[float32]bool{}
	for block := range slices.Chunk(p.A, 32) {
		if seen[block[0]] {
			t.Errorf("%s: two blocks begin with %g", init, block[0])
		}
		seen[block[0]] = true
	}
}
