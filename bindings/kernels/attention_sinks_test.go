package kernels

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestAttentionSinks is TestAttention where each head has a sink: with windows, bounded scores, trees, long heads.
func TestAttentionSinks(t *testing.T) {
	for _, c := range []struct {
		name          string
		nHead, nKV, d int
		window        int
		cap           float64
		segs          []treeSeg
	}{
		{"one token", 1, 1, 8, 0, 0, treeOf(1, -1)},
		{"no token", 3, 1, 8, 0, 0, treeOf()},
		{"group of 8", 16, 2, 64, 0, 0, treeOf(70, -1, 33, 0, 18, 0)},
		{"group of 8, a window", 8, 1, 64, 31, 0, treeOf(150, -1, 20, 0)},
		{"odd, bounded", 6, 2, 33, 7, 0.7, treeOf(40, -1, 20, -1)},
		{"long heads", 18, 18, 200, 0, 0, treeOf(35, -1, 9, 0)},
		{"a window of one", 4, 2, 16, 1, 0, treeOf(40, -1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(21, uint64(c.d)))
			a := newAttn(r, c.nHead, c.nKV, c.d, c.d%3, c.segs).sink(r)
			a.window, a.cap = c.window, c.cap
			a.allModes(t)
		})
	}
}

// TestAttentionSinksDifferences holds the gradients, those of the sinks among them, to central differences.
func TestAttentionSinksDifferences(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 5))
	a := newAttn(r, 4, 2, 8, 0, treeOf(6, -1, 4, 0, 5, 0, 7, -1, 3, 2)).sink(r)
	a.differences(t)
	a.window, a.cap = 5, 0.8
	a.differences(t)
}

// TestAttentionSinksFar: a sink far below all scores changes no bit; one far above them takes all.
func TestAttentionSinksFar(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		run := func(sink float64) *attnCase {
			r := rand.New(rand.NewPCG(8, 9))
			a := newAttn(r, 4, 2, 16, 0, treeOf(90, -1, 40, 0))
			if a.window = 50; !math.IsNaN(sink) {
				a.sink(r)
				for h := range a.nHead {
					a.sinks.row(0)[h] = float32(sink)
				}
			}
			a.run(t)
			return a
		}
		plain, below, above := run(math.NaN()), run(math.Inf(-1)), run(1000)
		for r := range 130 {
			for i, v := range plain.o.row(r) {
				if w := below.o.row(r)[i]; math.Float32bits(v) != math.Float32bits(w) {
					t.Fatalf("o[%d,%d] is %v, with a sink of -Inf %v", i, r, v, w)
				}
				if w := above.o.row(r)[i]; w != 0 {
					t.Fatalf("o[%d,%d] is %v with a sink of 1000", i, r, w)
				}
			}
			for h, v := range above.lse.row(r) {
				if math.Abs(float64(v)-1000) > 1e-3 {
					t.Fatalf("lse[%d,%d] is %v with a sink of 1000", h, r, v)
				}
			}
		}
	})
}

func TestAttentionSinksRefuse(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	a := newAttn(r, 4, 2, 8, 0, treeOf(6, -1, 4, 0)).sink(r)
	k := AttnConstants{NHead: 4}
	grad := func(d, sinks, lse, delta *matrix) error {
		return Check(callOf(OpAttnSinkGrad, k, d, sinks, lse, delta))
	}
	good := newMatrix(4, 1)
	if err := grad(good, a.sinks, a.lse, a.delta); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"three gradients": grad(newMatrix(3, 1), a.sinks, a.lse, a.delta),
		"five sinks":      grad(good, newMatrix(5, 1), a.lse, a.delta),
		"lse":             grad(good, a.sinks, newMatrix(3, 10), a.delta),
		"delta":           grad(good, a.sinks, a.lse, newMatrix(4, 9)),
		"in place":        grad(a.sinks, a.sinks, a.lse, a.delta),
	} {
		if err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	a.sinks = newMatrix(3, 1)
	if Check(a.call(OpAttn, a.o, a.lse, a.q, a.k, a.v)) == nil {
		t.Error("three sinks for four heads were accepted")
	}
}
