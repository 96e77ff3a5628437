package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// rowTolerance bounds |got − want| / (1 + |want|) of row operations on normally distributed numbers. Measured: at most
// 3e-6 (gradients of weights over 300 rows, and LayerNorm's over rows of one number, where 1/√eps enlarges rounding).
const rowTolerance = 1e-5

// A shape of an argument in a table: a matrix [n, rows], a vector [n], one number, or absent.
type shape byte

const (
	asMatrix shape = iota
	asVector
	asNumber // one number
	asAbsent
)

// A rowOp is a case of TestRowOps: an operation, its arguments' shapes, and its reference. For a backward operation,
// forward is the reference it is the gradient of, and wrt, for each output, the forward input it belongs to.
type rowOp struct {
	name    string
	op      Call // with its constants
	out, in []shape
	adds    bool // to what the outputs hold
	ref     []func(in []mat) mat
	forward func(in []mat) mat
	wrt     []int
	inPlace []int // inputs that output 0 may be
	far     bool  // an activation, whose exponential may not overflow
}

const eps = 1e-5

var rowOps []rowOp

// rows adds cases of TestRowOps: of an operation in the test file named as its kernel's, where there is one.
func rows(cases []rowOp) bool {
	rowOps = append(rowOps, cases...)
	return true
}

// refs are a case's references, one for each output.
type refs = []func(in []mat) mat

var _ = func() bool {
	m, v, norm := asMatrix, asVector, NormConstants{Eps: eps}
	return rows([]rowOp{
		{name: "add", op: OpAdd.Call(AddConstants{Factor: -0.75}), out: []shape{m}, in: []shape{m, m},
			inPlace: []int{0, 1},
			ref:     refs{pointwise(func(x []float64) float64 { return x[0] - 0.75*x[1] })}},
		{name: "bias_grad", op: OpBiasGrad.Call(None{}), out: []shape{v}, in: []shape{m}, adds: true,
			ref: refs{refColumnSum}},
		{name: "copy", op: OpCopy.Call(CopyConstants{}), out: []shape{m}, in: []shape{m}, inPlace: []int{0},
			ref: refs{pointwise(func(x []float64) float64 { return x[0] })}},
		{name: "copy acc", op: OpCopy.Call(CopyConstants{Acc: true}), out: []shape{m}, in: []shape{m}, adds: true,
			ref: refs{pointwise(func(x []float64) float64 { return x[0] })}},
		{name: "rms_norm", op: OpRMSNorm.Call(norm), out: []shape{m}, in: []shape{m, v}, inPlace: []int{0},
			ref: refs{refRMSNorm(eps)}},
		{name: "rms_norm_back", op: OpRMSNormBack.Call(NormBackConstants{Eps: eps}), out: []shape{m},
			in: []shape{m, v, m}, inPlace: []int{0, 2},
			ref: refs{refRMSNormBack(eps)}, forward: refRMSNorm(eps), wrt: []int{0}},
		{name: "rms_norm_back acc", op: OpRMSNormBack.Call(NormBackConstants{Eps: eps, Acc: true}), out: []shape{m},
			in: []shape{m, v, m}, adds: true,
			ref: refs{refRMSNormBack(eps)}},
		{name: "rms_norm without a weight", op: OpRMSNorm.Call(norm), out: []shape{m}, in: []shape{m, asAbsent},
			inPlace: []int{0}, ref: refs{refRMSNorm(eps)}},
		{name: "rms_norm_back without a weight", op: OpRMSNormBack.Call(NormBackConstants{Eps: eps}), out: []shape{m},
			in: []shape{m, asAbsent, m}, inPlace: []int{0, 2},
			ref: refs{refRMSNormBack(eps)}, forward: refRMSNorm(eps), wrt: []int{0}},
		{name: "rms_norm_back without a weight, acc", op: OpRMSNormBack.Call(NormBackConstants{Eps: eps, Acc: true}),
			out: []shape{m}, in: []shape{m, asAbsent, m}, adds: true,
			ref: refs{refRMSNormBack(eps)}},
		{name: "rms_norm_grad", op: OpRMSNormGrad.Call(norm), out: []shape{v}, in: []shape{m, m}, adds: true,
			ref: refs{refRMSNormGrad(eps)}, forward: refRMSNorm(eps), wrt: []int{1}},
		{name: "layer_norm", op: OpLayerNorm.Call(norm), out: []shape{m}, in: []shape{m, v, v}, inPlace: []int{0},
			ref: refs{refLayerNorm(eps)}},
		{name: "layer_norm without bias", op: OpLayerNorm.Call(norm), out: []shape{m}, in: []shape{m, v, asAbsent},
			ref: refs{refLayerNorm(eps)}},
		{name: "layer_norm_back", op: OpLayerNormBack.Call(NormBackConstants{Eps: eps}), out: []shape{m},
			in: []shape{m, v, m}, inPlace: []int{0, 2},
			ref: refs{refLayerNormBack(eps)}, forward: refLayerNorm(eps), wrt: []int{0}},
		{name: "layer_norm_back acc", op: OpLayerNormBack.Call(NormBackConstants{Eps: eps, Acc: true}), out: []shape{m},
			in: []shape{m, v, m}, adds: true,
			ref: refs{refLayerNormBack(eps)}},
		{name: "layer_norm_grad", op: OpLayerNormGrad.Call(norm), out: []shape{v, v}, in: []shape{m, m}, adds: true,
			ref: refs{refLayerNormGrad(eps), refColumnSum}, forward: refLayerNorm(eps), wrt: []int{1, 2}},
		{name: "layer_norm_grad without bias", op: OpLayerNormGrad.Call(norm), out: []shape{v, asAbsent},
			in: []shape{m, m}, adds: true,
			ref: refs{refLayerNormGrad(eps), nil}},
	})
}()

func (o rowOp) argument(s shape, n, rows, pad int, rnd *rand.Rand) *matrix {
	switch s {
	case asMatrix:
		return fill(rnd, newStrided(n, rows, n+pad))
	case asVector:
		return randomMatrix(rnd, n, 1)
	case asNumber:
		return randomMatrix(rnd, 1, 1)
	}
	return nil
}

func (o rowOp) call(outs, ins []*matrix) *Call {
	return o.op.with(append(append([]*matrix(nil), outs...), ins...)...)
}

// TestRowOps compares every row operation, at every level and thread count, with its reference, over sizes around the
// vectors' lengths; backward operations also with central differences of the forward reference.
func TestRowOps(t *testing.T) {
	sizes := []struct{ n, rows, pad int }{{1, 1, 0}, {3, 2, 5}, {4, 5, 0}, {7, 3, 1}, {8, 1, 0}, {15, 4, 2}, {16, 3, 0},
		{17, 9, 3},
		{31, 2, 1}, {64, 7, 0}, {100, 300, 4}, {131, 3, 0}, {4500, 2, 0}, {5, 0, 0}}
	for _, o := range rowOps {
		t.Run(o.name, func(t *testing.T) {
			atEveryLevel(t, func(t *testing.T) {
				for _, s := range sizes {
					o.test(t, s.n, s.rows, s.pad)
				}
			})
		})
	}
}

func (o rowOp) test(t *testing.T, n, rows, pad int) {
	rnd := rand.New(rand.NewPCG(uint64(n), uint64(rows)))
	what := fmt.Sprintf("[%d,%d]", n, rows)
	var ins, outs []*matrix
	var in64 []mat
	for _, s := range o.in {
		x := o.argument(s, n, rows, pad, rnd)
		ins, in64 = append(ins, x), append(in64, toMat(x))
	}
	for _, s := range o.out {
		outs = append(outs, o.argument(s, n, rows, pad, rnd))
	}
	got := runThreads(t, what, outs, func(outs []*matrix) *Call { return o.call(outs, ins) })
	for i, g := range got {
		if g == nil {
			continue
		}
		want := o.ref[i](in64)
		if o.adds {
			for j, v := range toMat(outs[i]).d {
				want.d[j] += v
			}
		}
		if e, at := farthest(g, want); e > rowTolerance {
			t.Errorf("%s: output %d differs by %.1e at %s", what, i, e, at)
		}
	}
	if rows > 0 && n <= 31 && o.forward != nil {
		o.testDifferences(t, what, outs, got, in64)
	}
	for _, i := range o.inPlace {
		shared := append([]*matrix(nil), ins...)
		shared[i] = ins[i].clone()
		over := append([]*matrix{shared[i]}, got[1:]...)
		if err := runCall(o.call(over, shared), 2); err != nil {
			t.Fatalf("%s: in place of input %d: %v", what, i, err)
		}
		sameBits(t, fmt.Sprintf("%s: in place of input %d", what, i), over[0], got[0])
	}
}

// testDifferences compares the gradients in got (over what was in outs before, where the operation adds) with central
// differences.
func (o rowOp) testDifferences(t *testing.T, what string, before, got []*matrix, in []mat) {
	dy := in[len(in)-1]
	forward := append([]mat(nil), in[:len(in)-1]...)
	for len(forward) <= slices.Max(o.wrt) { // a weight's gradient is taken at any weight
		forward = append(forward, newMat(dy.ne0, 1))
	}
	for i, w := range o.wrt {
		want := differences(o.forward, forward, dy, w)
		if o.adds {
			for j, v := range toMat(before[i]).d {
				want.d[j] += v
			}
		}
		if e, at := farthest(got[i], want); e > rowTolerance {
			t.Errorf("%s: output %d differs from central differences by %.1e at %s", what, i, e, at)
		}
	}
}

func TestZero(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		x := fill(rand.New(rand.NewPCG(1, 2)), newStrided(19, 5, 22))
		got := runThreads(t, "zero", []*matrix{x}, func(o []*matrix) *Call { return callOf(OpZero, None{}, o...) })
		sameBits(t, "zero", got[0], newStrided(19, 5, 22))
	})
}

// TestActivationsFarOut feeds numbers at which a careless exponential overflows.
func TestActivationsFarOut(t *testing.T) {
	xs := []float32{0, 1e-30, -1e-30, 5, -5, 20, -20, 50, -50, 88, -88, 104, -104, 1e4, -1e4, 1e19, -1e19, 3e38, -3e38}
	atEveryLevel(t, func(t *testing.T) {
		x, one := newMatrix(len(xs), 1), newMatrix(len(xs), 1)
		copy(x.row(0), xs)
		for i := range xs {
			one.row(0)[i] = 1
		}
		for _, o := range rowOps {
			if !o.far {
				continue
			}
			ins, in64 := []*matrix{x}, []mat{toMat(x)}
			for len(ins) < len(o.in) {
				ins, in64 = append(ins, one), append(in64, toMat(one))
			}
			outs := make([]*matrix, len(o.out))
			for i := range outs {
				outs[i] = newMatrix(len(xs), 1)
			}
			if err := runCall(o.call(outs, ins), 1); err != nil {
				t.Fatal(err)
			}
			for i, out := range outs {
				for j, v := range in64[0].d {
					point := make([]float64, len(in64))
					for k := range point {
						point[k] = in64[k].d[j]
					}
					want := o.ref[i](pointsOf(point)).d[0]
					if math.IsNaN(want) { // the reference itself overflows far out; there the slope is 0 or 1
						want = map[bool]float64{true: 1, false: 0}[v > 0]
					}
					if got := float64(out.row(0)[j]); math.Abs(got-want) > rowTolerance*(1+math.Abs(want)) ||
						math.IsNaN(got) {
						t.Errorf("%s, output %d, at %g: got %g, want %g", o.name, i, v, got, want)
					}
				}
			}
		}
	})
}

func pointsOf(x []float64) []mat {
	var out []mat
	for _, v := range x {
		out = append(out, mat{1, 1, []float64{v}})
	}
	return out
}
