package kernels

import (
	"math"
	"math/rand/v2"
	"testing"
)

var _ = func() bool {
	m, v, none := asMatrix, asVector, asAbsent
	scale := OpScale.Call(ScaleConstants{})
	return rows([]rowOp{
		{name: "scale", op: scale, out: []shape{m}, in: []shape{m, v, none, none}, inPlace: []int{0},
			ref: refs{refScale}},
		{name: "scale twice with bias", op: scale, out: []shape{m}, in: []shape{m, v, v, v}, inPlace: []int{0},
			ref: refs{refScale}},
		{name: "scale acc", op: OpScale.Call(ScaleConstants{Acc: true}), out: []shape{m}, in: []shape{m, v, v, none},
			adds: true, ref: refs{refScale}},
		{name: "scale_grad", op: OpScaleGrad.Call(None{}), out: []shape{v}, in: []shape{m, m, none}, adds: true,
			ref: refs{refScaleGrad}},
		{name: "scale_grad twice", op: OpScaleGrad.Call(None{}), out: []shape{v}, in: []shape{m, m, v}, adds: true,
			ref: refs{refScaleGrad}},
	})
}()

// factor is number i of a vector, or what stands for an absent one.
func factor(v mat, i int, absent float64) float64 {
	if v.absent() {
		return absent
	}
	return v.d[i]
}

func refScale(in []mat) mat {
	return eachRow(in[0], func(r int, y []float64) {
		for i, x := range in[0].row(r) {
			y[i] = x*in[1].d[i]*factor(in[2], i, 1) + factor(in[3], i, 0)
		}
	})
}

func refScaleGrad(in []mat) mat {
	out := newMat(in[0].ne0, 1)
	for r := range in[0].ne1 {
		for i, x := range in[0].row(r) {
			out.d[i] += x * in[1].row(r)[i] * factor(in[2], i, 1)
		}
	}
	return out
}

// TestPairNorm: the norms are those of the weights made as a whole.
func TestPairNorm(t *testing.T) {
	const tol = 1e-6 // relative; measured 1.2e-7
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(41, 42))
		for _, s := range [][3]int{{1, 1, 1}, {6, 5, 2}, {12, 40, 3}, {7, 0, 2}, {5, 33, 16}} {
			in, out, rank, scale := s[0], s[1], s[2], -0.75
			w, a, b := randomMatrix(r, in, out), randomMatrix(r, in, rank), randomMatrix(r, rank, out)
			if out > 4 { // a row of zeros, beside which nothing was learned, has no direction
				clear(w.row(4))
				clear(b.row(4))
			}
			norms, wa, h := newMatrix(out, 1), newMatrix(out, rank), newMatrix(rank, out)
			dot := func(x, y []float32) (sum float64) {
				for i := range x {
					sum += float64(x[i]) * float64(y[i])
				}
				return sum
			}
			want := make([]float64, out)
			for o := range out {
				norms.row(0)[o] = float32(math.Sqrt(dot(w.row(o), w.row(o))))
				for k := range rank {
					wa.row(k)[o] = float32(dot(w.row(o), a.row(k)))
					sum := 0.0
					for l := range rank {
						sum += dot(a.row(k), a.row(l)) * float64(b.row(o)[l])
					}
					h.row(o)[k] = float32(sum)
				}
				for i := range in {
					x := float64(w.row(o)[i])
					for k := range rank {
						x += scale * float64(b.row(o)[k]) * float64(a.row(k)[i])
					}
					want[o] += x * x
				}
			}
			got := runThreads(t, "pair_norm", []*matrix{newMatrix(out, 1)}, func(outs []*matrix) *Call {
				return callOf(OpPairNorm, PairNormConstants{Scale: scale}, outs[0], norms, wa, b, h)
			})[0]
			for o, sum := range want {
				u := 1 / math.Sqrt(sum)
				if sum == 0 {
					u = 0
				}
				if e := math.Abs(float64(got.row(0)[o]) - u); !(e <= tol*u) {
					t.Fatalf("%v: row %d: %v, want %v", s, o, got.row(0)[o], u)
				}
			}
		}
	})
}
