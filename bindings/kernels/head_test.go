package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// Tolerances of the head: of logp and lse absolutely, for logits of a few units, up to 40 in one case; of gradients
// relative to the largest number of the matrix. Measured: exact 9.8e-6 and 4.7e-6, INT16 4.2e-3 and 6.4e-3, BF16 2.2e-2
// and 4.9e-3 (logits are off as tolInt16 and tolBF16 say).
const (
	headTolExact     = 2e-5
	headTolExactGrad = 1e-5
	headTolInt16     = 1.5e-2
	headTolInt16Grad = 1e-2
	headTolBF16      = 4e-2
	headTolBF16Grad  = 3e-2
)

// head is one output head with its tokens; h2 and w2 may be nil.
type head struct {
	w       *stored
	h       *matrix
	w2      *stored
	h2      *matrix
	targets []int32
}

func newHead(r *rand.Rand, typ Type, k, v, c, rank int, spread float64) *head {
	d := &head{w: randomWeights(r, typ, k, v), h: fill(r, newStrided(k, c, k+2)), targets: make([]int32, c+1)}
	var square float64
	for i := range v {
		for _, x := range d.w.values.row(i) {
			square += float64(x) * float64(x)
		}
	}
	scale := float32(spread / math.Sqrt(square/float64(v)))
	for t := range c {
		d.targets[t] = int32(r.IntN(v))
		for i := range d.h.row(t) {
			d.h.row(t)[i] *= scale
		}
	}
	if rank > 0 {
		d.w2, d.h2 = randomWeights(r, F32, rank, v), fill(r, newStrided(rank, c, rank+1))
	}
	return d
}

func ints(v []int32, n int) Arg {
	return Matrix(unsafe.Pointer(&v[0]), I32, int64(n), 1, int64(n)*4)
}

// headOut is what the head's operations write.
type headOut struct{ logp, lse, e, e2 *matrix }

func (d *head) run(t *testing.T, exact, back bool, nth int) headOut {
	t.Helper()
	c, k, rank := d.h.ne1, d.w.ne0, 0
	o := headOut{newMatrix(c, 1), newMatrix(c, 1), newStrided(k, c, k+1), nil}
	call := callOf(OpHead, HeadConstants{Exact: exact}, o.logp, o.lse, nil, d.h)
	call.NArgs, call.A[4], call.A[5] = 10, d.w.arg(), ints(d.targets, c)
	if back {
		call.A[2] = o.e.arg()
	}
	if d.w2 != nil {
		rank = d.w2.ne0
		o.e2 = newStrided(rank, c, rank+3)
		call.A[6], call.A[7] = d.h2.arg(), d.w2.arg()
		if back {
			call.A[8] = o.e2.arg()
		}
	}
	scratch := newMatrix(int(HeadScratchBytes(int64(k), int64(rank), int64(d.w.ne1), int64(c), back))/4, 1)
	call.A[9] = scratch.arg()
	for _, op := range []Op{OpHead.Op, OpHeadMerge.Op} {
		call.Op = op
		if err := runCall(call, nth); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range []*matrix{o.logp, o.lse, o.e, scratch} {
		m.checkGuards(t)
	}
	return o
}

// reference returns log-probabilities, log-sum-exps and the whole softmax in float64.
func (d *head) reference() (logp, lse []float64, softmax [][]float64) {
	for t := range d.h.ne1 {
		l, top := make([]float64, d.w.ne1), math.Inf(-1)
		for v := range l {
			for i, x := range d.h.row(t) {
				l[v] += float64(x) * float64(d.w.values.row(v)[i])
			}
			if d.w2 != nil {
				for i, x := range d.h2.row(t) {
					l[v] += float64(x) * float64(d.w2.values.row(v)[i])
				}
			}
			top = max(top, l[v])
		}
		var sum float64
		for _, x := range l {
			sum += math.Exp(x - top)
		}
		all := top + math.Log(sum)
		lse, logp = append(lse, all), append(logp, l[d.targets[t]]-all)
		for v := range l {
			l[v] = math.Exp(l[v] - all)
		}
		softmax = append(softmax, l)
	}
	return logp, lse, softmax
}

// near fails the test where got is further from want than tol times want's largest number; it returns the largest
// error.
func near(t *testing.T, what string, got *matrix, want [][]float64, tol float64) {
	t.Helper()
	var top float64
	for _, row := range want {
		for _, x := range row {
			top = max(top, math.Abs(x))
		}
	}
	for i, row := range want {
		for j, x := range row {
			err := math.Abs(float64(got.row(i)[j])-x) / max(top, 1e-30)
			if !(err <= tol) {
				t.Fatalf("%s: row %d column %d is %v, want %v (error %.2g of the largest, %v)", what, i, j,
					got.row(i)[j], x, err, top)
			}
			gemmError[tol] = max(gemmError[tol], err)
		}
	}
}

func zeros(rows, cols int) [][]float64 {
	m := make([][]float64, rows)
	for i := range m {
		m[i] = make([]float64, cols)
	}
	return m
}

// checkGradients compares OpHeadBack and OpHeadGradW, from the outputs o, with the softmax.
func (d *head) checkGradients(t *testing.T, r *rand.Rand, o headOut, softmax [][]float64, exact bool, tol float64) {
	t.Helper()
	c, v := d.h.ne1, d.w.ne1
	coef := randomMatrix(r, c, 1)
	for _, pair := range []struct {
		w *stored
		h *matrix
		e *matrix
	}{{d.w, d.h, o.e}, {d.w2, d.h2, o.e2}} {
		if pair.w == nil {
			continue
		}
		k := pair.w.ne0
		dh, dw := zeros(c, k), zeros(v, k)
		for tok := range c {
			for row := range v {
				g := -softmax[tok][row]
				if row == int(d.targets[tok]) {
					g++
				}
				g *= float64(coef.row(0)[tok])
				for i := range k {
					dh[tok][i] += g * float64(pair.w.values.row(row)[i])
					dw[row][i] += g * float64(pair.h.row(tok)[i])
				}
			}
		}
		got := newStrided(k, c, k+2)
		back := callOf(OpHeadBack, None{}, got, pair.e, coef)
		back.NArgs, back.A[3], back.A[4] = 8, pair.w.arg(), ints(d.targets, c)
		if err := runCall(back, 3); err != nil {
			t.Fatal(err)
		}
		got.checkGuards(t)
		near(t, "dh", got, dh, tol)
		call := callOf(OpHeadGradW, HeadConstants{Exact: exact})
		call.NArgs = 9
		call.A[2], call.A[3], call.A[4], call.A[5], call.A[6] = d.h.arg(), d.w.arg(), ints(d.targets, c), o.lse.arg(),
			coef.arg()
		if d.w2 != nil {
			call.A[7], call.A[8] = d.h2.arg(), d.w2.arg()
		}
		one := onThreads(t, "dW", newStrided(k, v, k+1), func(grad *matrix) *Call {
			call.A[0] = grad.arg()
			if pair.w == d.w2 {
				call.A[0], call.A[1] = Arg{}, grad.arg()
			}
			return call
		})
		near(t, "dW", one, dw, tol)
	}
}

func TestHead(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(15, 16))
		for _, c := range []struct {
			typ            Type
			k, v, c, rank  int
			spread         float64
			exact, forward bool
		}{
			{typ: F32, k: 5, v: 1, c: 2, spread: 1, exact: true},
			{typ: F32, k: 17, v: 7, c: 1, spread: 2, exact: true},
			{typ: F32, k: 17, v: 300, c: 0, spread: 2},
			{typ: q8, k: 64, v: 300, c: 13, rank: 3, spread: 3, exact: true},
			{typ: q8, k: 64, v: 300, c: 13, rank: 3, spread: 2},
			{typ: q6k, k: 256, v: 4500, c: 7, spread: 2},
			{typ: q4, k: 32, v: 9000, c: 3, spread: 12, exact: true}, // logits far apart: shifts move
			{typ: F16, k: 33, v: 1500, c: 256, rank: 16, spread: 2, forward: true},
		} {
			name := fmt.Sprintf("%+v", c)
			d := newHead(r, c.typ, c.k, c.v, c.c, c.rank, c.spread)
			logp, lse, softmax := d.reference()
			tol := tolerance(!c.exact, headTolExact, headTolInt16, headTolBF16)
			tolGrad := tolerance(!c.exact, headTolExactGrad, headTolInt16Grad, headTolBF16Grad)
			one := d.run(t, c.exact, !c.forward, 1)
			for _, nth := range []int{2, 3, 5} {
				o := d.run(t, c.exact, !c.forward, nth)
				sameBits(t, name+": logp", o.logp, one.logp)
				sameBits(t, name+": lse", o.lse, one.lse)
				sameBits(t, name+": e", o.e, one.e)
				if d.w2 != nil {
					sameBits(t, name+": e2", o.e2, one.e2)
				}
			}
			for i := range logp {
				a, b := math.Abs(float64(one.logp.v[i])-logp[i]), math.Abs(float64(one.lse.v[i])-lse[i])
				if !(a <= tol && b <= tol) {
					t.Fatalf("%s: token %d: logp %v and lse %v, want %v and %v", name, i, one.logp.v[i], one.lse.v[i],
						logp[i], lse[i])
				}
				gemmError[tol] = max(gemmError[tol], a, b)
			}
			if !c.forward && c.c > 0 {
				d.checkGradients(t, r, one, softmax, c.exact, tolGrad)
			}
		}
		t.Logf("largest errors so far: exact %.2g, gradients %.2g; INT16 %.2g, gradients %.2g; BF16 %.2g, gradients "+
			"%.2g", gemmError[headTolExact],
			gemmError[headTolExactGrad], gemmError[headTolInt16], gemmError[headTolInt16Grad], gemmError[headTolBF16],
			gemmError[headTolBF16Grad])
	})
}

// TestHeadTypes runs every storage type of ggml's through the head, of one block a row and of several.
func TestHeadTypes(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(23, 24))
		for _, typ := range storageTypes() {
			tr, _ := traitsOf(typ)
			block := max(tr.block, 32) // of few numbers one rounded to BF16 is too large a part
			for _, exact := range []bool{true, false} {
				for _, c := range []struct{ k, v, c int }{{block, 33, 1}, {2 * block, 270, 13}} {
					d := newHead(r, typ, c.k, c.v, c.c, 0, 2)
					logp, lse, softmax := d.reference()
					tol := tolerance(!exact, headTolExact, headTolInt16, headTolBF16)
					tolGrad := tolerance(!exact, headTolExactGrad, headTolInt16Grad, headTolBF16Grad)
					o := d.run(t, exact, true, 2)
					for i := range logp {
						if a, b := math.Abs(float64(o.logp.v[i])-logp[i]),
							math.Abs(float64(o.lse.v[i])-lse[i]); !(a <= tol && b <= tol) {
							t.Fatalf("%s, exact %v, %+v, token %d: logp %v and lse %v, want %v and %v", tr.name, exact,
								c, i, o.logp.v[i], o.lse.v[i], logp[i], lse[i])
						}
					}
					d.checkGradients(t, r, o, softmax, exact, tolGrad)
				}
			}
		}
	})
}

// TestHeadAgreesWithoutBackward holds the head without mean rows to the head with them.
func TestHeadAgreesWithoutBackward(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		d := newHead(rand.New(rand.NewPCG(17, 18)), q8, 96, 5000, 30, 0, 3)
		a, b := d.run(t, false, true, 1), d.run(t, false, false, 2)
		sameBits(t, "logp", b.logp, a.logp)
		sameBits(t, "lse", b.lse, a.lse)
	})
}

// TestHeadTargetOutside: a target that is no row of the vocabulary yields NaN, which the loop catches, not another
// row's probability.
func TestHeadTargetOutside(t *testing.T) {
	d := newHead(rand.New(rand.NewPCG(19, 20)), F32, 8, 40, 2, 0, 1)
	d.targets[1] = 40
	o := d.run(t, true, true, 1)
	dh, coef := newMatrix(8, 2), newMatrix(2, 1)
	back := callOf(OpHeadBack, None{}, dh, o.e, coef)
	back.NArgs, back.A[3], back.A[4] = 5, d.w.arg(), ints(d.targets, 2)
	if err := runCall(back, 1); err != nil {
		t.Fatal(err)
	}
	if a, b := dh.row(0)[3], dh.row(1)[3]; a != 0 || b == b {
		t.Errorf("gradients for coefficient 0 are %v and %v, want 0 and NaN", a, b)
	}
	if v := o.logp.v[0]; v != v {
		t.Errorf("logp of a good target is %v", v)
	}
	if v := o.logp.v[1]; v == v {
		t.Errorf("logp of target 40 of 40 is %v, want NaN", v)
	}
}

func TestHeadRefuses(t *testing.T) {
	d := newHead(rand.New(rand.NewPCG(21, 22)), q8, 32, 64, 3, 2, 1)
	logp, lse, e, e2 := newMatrix(3, 1), newMatrix(3, 1), newMatrix(32, 3), newMatrix(2, 3)
	scratch := newMatrix(int(HeadScratchBytes(32, 2, 64, 3, true))/4, 1)
	good := func() *Call {
		c := OpHead.Call(HeadConstants{}, logp.arg(), lse.arg(), e.arg(), d.h.arg(), d.w.arg(), ints(d.targets, 3),
			d.h2.arg(),
			d.w2.arg(), e2.arg(), scratch.arg())
		return &c
	}
	if err := Check(good()); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(c *Call){
		"scratch too small":    func(c *Call) { c.A[9].Ne0-- },
		"scratch absent":       func(c *Call) { c.A[9].Data = nil },
		"targets missing":      func(c *Call) { c.A[5].Data = nil },
		"targets do not fit":   func(c *Call) { c.A[5].Ne0 = 2 },
		"half a second pair":   func(c *Call) { c.A[6].Data = nil },
		"second pair's rows":   func(c *Call) { c.A[7].Ne1 = 63 },
		"mean rows do not fit": func(c *Call) { c.A[2].Ne1 = 2 },
		"too many tokens":      func(c *Call) { c.A[3].Ne1, c.A[5].Ne0 = HeadChunk()+1, HeadChunk()+1 },
		"outputs overlap":      func(c *Call) { c.A[1].Data = c.A[0].Data },
		"empty vocabulary":     func(c *Call) { c.A[4].Ne1 = 0 },
	} {
		c := good()
		spoil(c)
		if err := Check(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
