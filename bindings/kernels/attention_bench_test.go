package kernels

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkAttention reports the rate of the multiplications that the tree asks for (hidden pairs do not count), on one
// thread: 2 products of pairs × d in the forward pass, 3 and 4 in the backward passes, two operations each.
func BenchmarkAttention(b *testing.B) {
	short := []int{}
	for i := range 68 {
		short = append(short, 30+i*17%61, -1)
	}
	for _, c := range []struct {
		name          string
		nHead, nKV, d int
		segs          []treeSeg
		drop          float64
	}{
		{"512 d64 group8", 8, 1, 64, treeOf(512, -1), 0},
		{"512 d64 group7", 7, 1, 64, treeOf(512, -1), 0},
		{"512 d64 group1", 4, 4, 64, treeOf(512, -1), 0},
		{"512 d128 group4", 16, 4, 128, treeOf(512, -1), 0},
		{"4096 d128 group4", 4, 1, 128, treeOf(4096, -1), 0},
		{"packed 60 d64 group8", 8, 1, 64, treeOf(short...), 0},
		{"packed 60 d64 group8 dropout", 8, 1, 64, treeOf(short...), 0.1},
	} {
		a := newAttn(rand.New(rand.NewPCG(1, 1)), c.nHead, c.nKV, c.d, 0, c.segs)
		a.drop.rate = c.drop
		pairs := 0
		for s, seg := range c.segs {
			n := seg.end - seg.start
			pairs += n * (n + 1) / 2
			for p := c.segs[s].parent; p >= 0; p = c.segs[p].parent {
				pairs += n * (c.segs[p].end - c.segs[p].start)
			}
		}
		for mode, fast := range []string{"exact", "fast"} {
			a.fast = mode == 1
			benchAttention(b, a, c.name+" "+fast, pairs)
		}
	}
}

func benchAttention(b *testing.B, a *attnCase, name string, pairs int) {
	for _, op := range []struct {
		name     string
		products int
		call     *Call
	}{
		{"forward", 2, a.call(OpAttn, a.o, a.lse, a.q, a.k, a.v)},
		{"back q", 3, a.call(OpAttnBackQ, a.dq, a.q, a.k, a.v, a.lse, a.delta, a.do)},
		{"back kv", 4, a.call(OpAttnBackKV, a.dk, a.dv, a.q, a.k, a.v, a.lse, a.delta, a.do)},
	} {
		b.Run(fmt.Sprintf("%s/%s", name, op.name), func(b *testing.B) {
			measure(b, 2*float64(op.products)*float64(pairs)*float64(a.nHead)*float64(a.d), op.call)
		})
	}
}

// BenchmarkRows reports the bytes that row operations read and write, on one thread.
func BenchmarkRows(b *testing.B) {
	const n, rows = 2048, 512
	r := rand.New(rand.NewPCG(1, 1))
	x, y, z, u, out := randomMatrix(r, n, rows), randomMatrix(r, n, rows), randomMatrix(r, n, rows),
		randomMatrix(r, n, rows), randomMatrix(r, n, rows)
	w, bias := randomMatrix(r, n, 1), randomMatrix(r, n, 1)
	pos := make([]int32, rows)
	for i := range pos {
		pos[i] = int32(i)
	}
	norm, back := NormConstants{Eps: eps}, NormBackConstants{Eps: eps}
	rope := ropeCase{d: 64, nRot: 64, nHead: n / 64, base: 10000, scale: 1, attn: 1}
	neox := rope
	neox.neox = true
	for _, c := range []struct {
		name     string
		matrices int
		call     *Call
	}{
		{"add", 3, callOf(OpAdd, AddConstants{Factor: 1}, out, x, y)},
		{"bias_grad", 1, callOf(OpBiasGrad, None{}, bias, x)},
		{"copy", 2, callOf(OpCopy, CopyConstants{}, out, x)},
		{"zero", 1, callOf(OpZero, None{}, out)},
		{"rms_norm", 2, callOf(OpRMSNorm, norm, out, x, w)},
		{"rms_norm_back", 3, callOf(OpRMSNormBack, back, out, x, w, y)},
		{"rms_norm_grad", 2, callOf(OpRMSNormGrad, norm, bias, x, y)},
		{"layer_norm", 2, callOf(OpLayerNorm, norm, out, x, w, bias)},
		{"layer_norm_back", 3, callOf(OpLayerNormBack, back, out, x, w, y)},
		{"rope pairs", 2, rope.call(out, x, pos, false)},
		{"rope halves", 2, neox.call(out, x, pos, false)},
		{"swiglu", 3, callOf(OpSwiGLU, None{}, out, x, y)},
		{"swiglu_back", 5, callOf(OpSwiGLUBack, None{}, out, u, x, y, z)},
		{"swiglu_oai", 3, callOf(OpSwiGLUOAI, SwiGLUOAIConstants{Alpha: 1.702, Limit: 7}, out, x, y)},
		{"swiglu_oai_back", 5,
			callOf(OpSwiGLUOAIBack, SwiGLUOAIConstants{Alpha: 1.702, Limit: 7}, out, u, x, y, z)},
		{"gelu", 2, callOf(OpGELU, None{}, out, x)},
		{"gelu_back", 3, callOf(OpGELUBack, None{}, out, x, y)},
		{"geglu", 3, callOf(OpGEGLU, None{}, out, x, y)},
		{"geglu_back", 5, callOf(OpGEGLUBack, None{}, out, u, x, y, z)},
		{"softcap", 2, callOf(OpSoftCap, SoftCapConstants{Cap: 30}, out, x)},
		{"softcap_back", 3, callOf(OpSoftCapBack, SoftCapConstants{Cap: 30}, out, x, y)},
		{"times", 2, callOf(OpTimes, TimesConstants{Factor: 32}, out, x)},
		{"dropout", 2, dropoutCall(out, x, 0.1, 1, 1)},
	} {
		b.Run(c.name, func(b *testing.B) {
			measure(b, float64(c.matrices*n*rows*4), c.call) // "operations" are bytes here
		})
	}
}
