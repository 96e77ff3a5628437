package adapter_test

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// random gives an adapter with numbers in both halves.
func random(t *testing.T, seed uint64, rank int, targets ...string) *adapter.Adapter {
	t.Helper()
	a, err := adapter.New(sizes(t, synth.Tiny("llama", gguf.F32)), config(func(c *adapter.Config) {
		c.Targets, c.Rank, c.Seed = targets, rank, seed
	}))
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(seed, 9))
	for i := range a.Pairs {
		for j := range a.Pairs[i].B {
			a.Pairs[i].B[j] = float32(r.NormFloat64())
		}
	}
	return a
}

// TestSum: each number is the exact sum, rounded once; rank 6 has a part of four and two ranks alone. token_embd's pair
// lies the other way.
func TestSum(t *testing.T) {
	list := []adapter.Scaled{
		{Adapter: random(t, 1, 6, "attn_k", "token_embd"), Scale: 1},
		{Adapter: random(t, 2, 3, "attn_k", "token_embd"), Scale: -0.5},
	}
	s, err := adapter.NewSum(list...)
	if err != nil {
		t.Fatal(err)
	}
	if s.Tensors() != 3 { // keys of two layers, and the table
		t.Errorf("%d tensors change, want 3", s.Tensors())
	}
	for i := range list[0].Pairs {
		p := &list[0].Pairs[i]
		n, rows := p.AShape[0], p.BShape[1]
		if p.Flipped {
			n, rows = p.BShape[1], p.AShape[1]
		}
		r := rand.New(rand.NewPCG(5, uint64(i)))
		const first = 3 // rows before are another call's
		x := make([]float32, (rows-first)*n)
		for j := range x {
			x[j] = float32(r.NormFloat64())
		}
		was := append([]float32(nil), x...)
		s.AddTo(p.Tensor, first, x, n)
		for j := range x {
			o, col := first+int64(j)/n, int64(j)%n
			want := exact(float64(was[j]), list, i, o, col)
			if x[j] != want {
				t.Fatalf("%s row %d, column %d: got %v, want %v", p.Tensor, o, col, x[j], want)
			}
		}
	}
	if s.Changes("blk.0.attn_q.weight") {
		t.Error("a tensor that no adapter touches changes")
	}
	x := []float32{1, 2}
	if s.AddTo("blk.0.attn_q.weight", 0, x, 2); x[0] != 1 || x[1] != 2 {
		t.Errorf("a tensor that no adapter touches became %v", x)
	}
}

// exact is base plus what the adapters add to a number of their i-th tensor, in big arithmetic.
func exact(base float64, list []adapter.Scaled, i int, row, col int64) float32 {
	const bits = 200
	sum := new(big.Float).SetPrec(bits).SetFloat64(base)
	for _, a := range list {
		p := &a.Pairs[i]
		part := new(big.Float).SetPrec(bits)
		for k := range p.Rank {
			x, y := col+k*p.AShape[0], row*p.Rank+k // in A and in B
			if p.Flipped {
				x, y = row*p.Rank+k, col*p.Rank+k
			}
			product := new(big.Float).SetPrec(bits).Mul(big.NewFloat(float64(p.A[x])), big.NewFloat(float64(p.B[y])))
			part.Add(part, product)
		}
		part.Mul(part, big.NewFloat(a.Scale*a.Adapter.Scale(p)))
		sum.Add(sum, part)
	}
	out, _ := sum.Float32()
	return out
}

// TestSumOfNothing: what adds nothing is not there, and what is no number is refused.
func TestSumOfNothing(t *testing.T) {
	zero := random(t, 1, 4, "attn_q")
	for i := range zero.Pairs {
		clear(zero.Pairs[i].B)
	}
	for name, list := range map[string][]adapter.Scaled{
		"none":    {},
		"scale 0": {{Adapter: random(t, 1, 4, "attn_q"), Scale: 0}},
		"B zero":  {{Adapter: zero, Scale: 1}},
	} {
		s, err := adapter.NewSum(list...)
		if err != nil || s.Tensors() != 0 || s.Changes("blk.0.attn_q.weight") {
			t.Errorf("%s: %d tensors change, error %v", name, s.Tensors(), err)
		}
	}
	bad := random(t, 1, 4, "attn_q")
	bad.Pairs[1].A[7] = float32(math.NaN())
	_, err := adapter.NewSum(adapter.Scaled{Adapter: bad, Scale: 1})
	refused(t, err, "blk.1.attn_q.weight", "NaN", "checkpoint")
	_, err = adapter.NewSum(adapter.Scaled{Adapter: zero, Scale: math.Inf(1)})
	refused(t, err, "scale is +Inf")
}
