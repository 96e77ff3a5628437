package kernels

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// Tolerances of the head: of logp and lse absolutely, for logits of a few units, up to 40 in one case; of gradients
// relative to the largest number of the matrix. Measured: exact 9.8e-6 and 4.7e-6, INT16 4.2e-3 and 6.4e-3, BF16 2.2e-2
// and 4.9e-3 (logits are off as tolInt16 and tolBF16 say). With a rest, whose derivative is multiplied by what a
// target's probability is beside it, 3.3e-5 exact; of the entropy, where a probability near 1 leaves next to nothing of
// log p + H, 3.7e-4.
const (
	headTolLeanGrad  = 1e-3
	headTolNamedGrad = 1e-4
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
	named   int  // targets a token
	rest    bool // what they leave is asked for too
	entropy bool
	scale   float64
	cap     float64 // 0: none
}

func (d *head) constants(exact bool) HeadConstants {
	return HeadConstants{Exact: exact, Rest: d.rest, Entropy: d.entropy, Scale: d.scale, Cap: d.cap}
}

func newHead(r *rand.Rand, typ Type, k, v, c, rank int, spread float64) *head {
	d := &head{w: randomWeights(r, typ, k, v), h: fill(r, newStrided(k, c, k+2)), targets: make([]int32, c+1), named: 1,
		scale: 1}
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

// name gives each token several targets, and asks for what they leave.
func (d *head) name(r *rand.Rand, named int) *head {
	d.named, d.rest, d.targets = named, true, nil
	for range d.h.ne1 {
		for _, v := range r.Perm(d.w.ne1)[:named] {
			d.targets = append(d.targets, int32(v))
		}
	}
	return d
}

// per is how many numbers a token gets.
func (d *head) per() int {
	if d.rest {
		return d.named + 1
	}
	return d.named
}

func ints(v []int32, n int) Arg {
	return Matrix(unsafe.Pointer(&v[0]), I32, int64(n), 1, int64(n)*4)
}

// headOut is what the head's operations write.
type headOut struct{ logp, lse, e, e2, entropy, d, d2 *matrix }

// all lists them; absent ones are nil.
func (o *headOut) all() []*matrix { return []*matrix{o.logp, o.lse, o.e, o.e2, o.entropy, o.d, o.d2} }

func (d *head) run(t *testing.T, exact, back bool, nth int) headOut {
	t.Helper()
	c, k, rank := d.h.ne1, d.w.ne0, 0
	o := headOut{logp: newMatrix(c*d.per(), 1), lse: newMatrix(c, 1)}
	call := OpHead.Call(d.constants(exact), o.logp.arg(), o.lse.arg(), Arg{}, d.h.arg(), d.w.arg(),
		ints(d.targets, c*d.named))
	if d.w2 != nil {
		rank = d.w2.ne0
		call.A[6], call.A[7] = d.h2.arg(), d.w2.arg()
	}
	rows := func(width int, at int) (m *matrix) {
		if back && width > 0 {
			m = newStrided(width, c, width+3)
			call.A[at] = m.arg()
		}
		return m
	}
	o.e, o.e2 = rows(k, 2), rows(rank, 8)
	if d.entropy {
		o.entropy = newMatrix(c, 1)
		call.A[10], o.d, o.d2 = o.entropy.arg(), rows(k, 11), rows(rank, 12)
	}
	scratch := newMatrix(int(HeadScratchBytes(int64(k), int64(rank), int64(d.w.ne1), int64(c),
		int64(d.per()), back, d.entropy))/4, 1)
	call.NArgs, call.A[9] = 13, scratch.arg()
	for _, op := range []Op{OpHead.Op, OpHeadMerge.Op} {
		call.Op = op
		if err := runCall(&call, nth); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range append(o.all(), scratch) {
		if m != nil {
			m.checkGuards(t)
		}
	}
	return o
}

// reference returns log-probabilities, per numbers a token, log-sum-exps and the whole softmax in float64.
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
			l[v] = d.bounded(l[v]) * d.scale
			top = max(top, l[v])
		}
		var sum float64
		for _, x := range l {
			sum += math.Exp(x - top)
		}
		all := top + math.Log(sum)
		lse = append(lse, all)
		ids := d.targets[t*d.named:][:d.named]
		for _, id := range ids {
			logp = append(logp, l[id]-all)
		}
		rest := 0.0
		for v := range l {
			l[v] = math.Exp(l[v] - all)
			if !slices.Contains(ids, int32(v)) {
				rest += l[v]
			}
		}
		if d.rest {
			logp = append(logp, math.Log(rest))
		}
		softmax = append(softmax, l)
	}
	return logp, lse, softmax
}

// bounded is a logit within the head's bound, where it has one.
func (d *head) bounded(l float64) float64 {
	if d.cap == 0 {
		return l
	}
	return d.cap * math.Tanh(l/d.cap)
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

// entropyOf is that of probabilities.
func entropyOf(softmax []float64) float64 {
	sum := 0.0
	for _, p := range softmax {
		if p > 0 {
			sum -= p * math.Log(p)
		}
	}
	return sum
}

// slopes are the derivatives by one token's products, given those by its numbers (unless coef is nil) and by its
// entropy. Its bounded logits are known from the softmax and the log-sum-exp.
func (d *head) slopes(coef []float32, g float64, targets []int32, softmax []float64, lse float64) []float64 {
	out, h := make([]float64, len(softmax)), entropyOf(softmax)
	if coef != nil {
		out = d.byNamed(coef, targets, softmax)
	}
	for v, p := range softmax {
		if p > 0 {
			out[v] -= g * p * (math.Log(p) + h)
		}
		out[v] *= d.scale
		if d.cap > 0 {
			y := (math.Log(p) + lse) / d.scale / d.cap
			out[v] *= 1 - y*y
		}
	}
	return out
}

// byNamed are the derivatives by one token's logits, given those by its numbers.
func (d *head) byNamed(coef []float32, targets []int32, softmax []float64) []float64 {
	out, rest, all := make([]float64, len(softmax)), 0.0, 0.0
	for v, p := range softmax {
		if !slices.Contains(targets, int32(v)) {
			rest += p
		}
	}
	for j, id := range targets {
		out[id] = float64(coef[j])
		all += out[id]
	}
	for v, p := range softmax {
		if d.rest && !slices.Contains(targets, int32(v)) {
			out[v] = float64(coef[d.named]) * p / rest
		}
		if d.rest && v == 0 {
			all += float64(coef[d.named])
		}
	}
	for v, p := range softmax {
		out[v] -= all * p
	}
	return out
}

// checkGradients compares OpHeadBack and OpHeadGradW, from the outputs o, with the softmax: with derivatives by the
// targets, by the entropy where there is one, and by both.
func (d *head) checkGradients(t *testing.T, r *rand.Rand, o headOut, softmax [][]float64, exact bool, tol float64) {
	t.Helper()
	c := d.h.ne1
	coef, g := randomMatrix(r, c*d.per(), 1), (*matrix)(nil)
	d.checkSlopes(t, o, softmax, coef, nil, exact, tol)
	if d.entropy {
		g = randomMatrix(r, c, 1)
		d.checkSlopes(t, o, softmax, coef, g, exact, tol)
		d.checkSlopes(t, o, softmax, nil, g, exact, tol)
	}
}

func (d *head) checkSlopes(t *testing.T, o headOut, softmax [][]float64, coef, g *matrix, exact bool, tol float64) {
	t.Helper()
	c, v := d.h.ne1, d.w.ne1
	_, lse, _ := d.reference()
	for _, pair := range []struct {
		w             *stored
		h, e, entropy *matrix
	}{{d.w, d.h, o.e, o.d}, {d.w2, d.h2, o.e2, o.d2}} {
		if pair.w == nil {
			continue
		}
		k := pair.w.ne0
		dh, dw := zeros(c, k), zeros(v, k)
		for tok := range c {
			by, own := 0.0, []float32(nil)
			if g != nil {
				by = float64(g.v[tok])
			}
			if coef != nil {
				own = coef.row(0)[tok*d.per():]
			}
			for row, g := range d.slopes(own, by, d.targets[tok*d.named:][:d.named], softmax[tok], lse[tok]) {
				for i := range k {
					dh[tok][i] += g * float64(pair.w.values.row(row)[i])
					dw[row][i] += g * float64(pair.h.row(tok)[i])
				}
			}
		}
		got := newStrided(k, c, k+2)
		back := OpHeadBack.Call(d.constants(exact), got.arg(), pair.e.arg(), present(coef), pair.w.arg(),
			ints(d.targets, c*d.named))
		grad := OpHeadGradW.Call(d.constants(exact), Arg{}, Arg{}, d.h.arg(), d.w.arg(), ints(d.targets, c*d.named),
			o.lse.arg(), present(coef))
		back.NArgs, grad.NArgs = 13, 12
		if d.rest {
			back.A[8], grad.A[9] = o.logp.arg(), o.logp.arg()
		}
		if d.cap > 0 {
			back.A[8], back.A[12] = o.logp.arg(), o.lse.arg()
		}
		if g != nil {
			back.A[9], back.A[10], grad.A[10], grad.A[11] = g.arg(), pair.entropy.arg(), g.arg(), o.entropy.arg()
		}
		if err := runCall(&back, 3); err != nil {
			t.Fatal(err)
		}
		got.checkGuards(t)
		near(t, "dh", got, dh, tol)
		if d.w2 != nil {
			grad.A[7], grad.A[8] = d.h2.arg(), d.w2.arg()
		}
		one := onThreads(t, "dW", newStrided(k, v, k+1), func(to *matrix) *Call {
			grad.A[0] = to.arg()
			if pair.w == d.w2 {
				grad.A[0], grad.A[1] = Arg{}, to.arg()
			}
			return &grad
		})
		near(t, "dW", one, dw, tol)
	}
}

// present is the argument of a matrix that may be nil.
func present(m *matrix) Arg {
	if m == nil {
		return Arg{}
	}
	return m.arg()
}

func TestHead(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(15, 16))
		for _, c := range []struct {
			typ            Type
			k, v, c, rank  int
			spread         float64
			exact, forward bool
			named          int     // 0: one target, and no rest
			scale          float64 // 0: 1, and no entropy
			cap            float64
		}{
			{typ: F32, k: 5, v: 1, c: 2, spread: 1, exact: true},
			{typ: F32, k: 17, v: 7, c: 1, spread: 2, exact: true},
			{typ: F32, k: 17, v: 300, c: 0, spread: 2},
			{typ: q8, k: 64, v: 300, c: 13, rank: 3, spread: 3, exact: true},
			{typ: q8, k: 64, v: 300, c: 13, rank: 3, spread: 2},
			{typ: q6k, k: 256, v: 4500, c: 7, spread: 2},
			{typ: q4, k: 32, v: 9000, c: 3, spread: 12, exact: true}, // logits far apart: shifts move
			{typ: F16, k: 33, v: 1500, c: 256, rank: 16, spread: 2, forward: true},
			{typ: F32, k: 5, v: 3, c: 2, spread: 1, exact: true, named: 2},
			{typ: q8, k: 64, v: 700, c: 13, rank: 3, spread: 3, exact: true, named: 70},
			{typ: q8, k: 64, v: 700, c: 13, rank: 3, spread: 2, named: 7},
			{typ: q4, k: 32, v: 9000, c: 3, spread: 6, exact: true, named: 64},
			{typ: q8, k: 64, v: 700, c: 13, rank: 3, spread: 3, exact: true, named: 7, scale: 0.5},
			{typ: F32, k: 5, v: 1, c: 2, spread: 1, exact: true, scale: 1},
			{typ: F32, k: 17, v: 7, c: 1, spread: 2, exact: true, scale: 2},
			{typ: F32, k: 17, v: 300, c: 0, spread: 2, scale: 1},
			{typ: q8, k: 64, v: 300, c: 13, rank: 3, spread: 3, exact: true, scale: 0.7},
			{typ: q8, k: 64, v: 300, c: 13, rank: 3, spread: 2, scale: 1.25},
			{typ: q6k, k: 256, v: 4500, c: 7, spread: 2, scale: 1},
			{typ: q4, k: 32, v: 9000, c: 3, spread: 12, exact: true, scale: 1}, // logits far apart: shifts move
			{typ: F16, k: 33, v: 1500, c: 256, rank: 16, spread: 2, forward: true, scale: 1},
			{typ: F32, k: 17, v: 7, c: 3, spread: 2, exact: true, cap: 1.5},
			{typ: q8, k: 64, v: 300, c: 13, rank: 3, spread: 3, exact: true, cap: 4},
			{typ: q8, k: 64, v: 300, c: 13, rank: 3, spread: 2, cap: 4, scale: 1.25},
			{typ: q4, k: 32, v: 9000, c: 3, spread: 12, exact: true, cap: 30, scale: 0.7},
			{typ: q8, k: 64, v: 700, c: 13, rank: 3, spread: 3, exact: true, named: 7, scale: 0.5, cap: 5},
		} {
			name := fmt.Sprintf("%+v", c)
			d := newHead(r, c.typ, c.k, c.v, c.c, c.rank, c.spread)
			d.cap = c.cap
			if c.named > 0 {
				d.name(r, c.named)
			}
			if c.scale > 0 {
				d.scale, d.entropy = c.scale, c.named == 0
			}
			logp, lse, softmax := d.reference()
			tol := tolerance(!c.exact, headTolExact, headTolInt16, headTolBF16)
			tolGrad := tolerance(!c.exact, headTolExactGrad, headTolInt16Grad, headTolBF16Grad)
			if c.named > 0 {
				tolGrad = max(tolGrad, headTolNamedGrad)
			}
			if d.entropy {
				tolGrad = max(tolGrad, headTolLeanGrad)
			}
			one := d.run(t, c.exact, !c.forward, 1)
			for _, nth := range []int{2, 3, 5} {
				o := d.run(t, c.exact, !c.forward, nth)
				for i, m := range o.all() {
					if m != nil {
						sameBits(t, fmt.Sprintf("%s: output %d", name, i), m, one.all()[i])
					}
				}
			}
			for i, p := range softmax {
				if !d.entropy {
					break
				}
				if got, want := float64(one.entropy.v[i]), entropyOf(p); !(math.Abs(got-want) <= tol) {
					t.Fatalf("%s: entropy of token %d: %v, want %v", name, i, got, want)
				}
			}
			for i := range logp {
				of := i / d.per()
				a, b := math.Abs(float64(one.logp.v[i])-logp[i]), math.Abs(float64(one.lse.v[of])-lse[of])
				if !(a <= tol && b <= tol) {
					t.Fatalf("%s: number %d of token %d: logp %v and lse %v, want %v and %v", name, i%d.per(), of,
						one.logp.v[i], one.lse.v[of], logp[i], lse[of])
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

// TestHeadRestIsSmall: what the targets leave is exact where it is far below what a difference from 1 can show.
func TestHeadRestIsSmall(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		d := newHead(rand.New(rand.NewPCG(25, 26)), F32, 64, 2000, 4, 0, 30)
		_, _, softmax := d.reference()
		d.targets, d.named, d.rest = nil, 20, true
		for _, p := range softmax {
			order := make([]int32, len(p))
			for v := range order {
				order[v] = int32(v)
			}
			slices.SortFunc(order, func(a, b int32) int { return cmp.Compare(p[b], p[a]) })
			d.targets = append(d.targets, order[:d.named]...)
		}
		logp, _, _ := d.reference()
		o, small := d.run(t, true, true, 2), 0.0
		for tok := range d.h.ne1 {
			at := tok*d.per() + d.named
			small = min(small, logp[at])
			const tol = 1e-4 // measured 2e-5, of logits up to 100
			if got := float64(o.logp.v[at]); !(math.Abs(got-logp[at]) <= tol) {
				t.Errorf("token %d: the rest's log-probability is %v, want %v", tok, got, logp[at])
			}
		}
		if small > math.Log(1e-8) {
			t.Errorf("the smallest rest is %g: too large to show anything", math.Exp(small))
		}
	})
}

// TestHeadTop: the largest logits are those of the reference, largest first, whatever the number of threads.
func TestHeadTop(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(27, 28))
		for _, c := range []struct {
			typ              Type
			k, v, c, rank, n int
			spread, cap      float64
			exact            bool
		}{
			{typ: F32, k: 5, v: 1, c: 2, n: 1, spread: 1, exact: true},
			{typ: F32, k: 17, v: 7, c: 3, n: 7, spread: 2, exact: true},
			{typ: q8, k: 64, v: 5000, c: 9, rank: 3, n: 64, spread: 4, exact: true},
			{typ: q4, k: 64, v: 3000, c: 256, n: 10, spread: 1},
			{typ: q8, k: 64, v: 5000, c: 9, rank: 3, n: 64, spread: 4, exact: true, cap: 6},
		} {
			d := newHead(r, c.typ, c.k, c.v, c.c, c.rank, c.spread)
			d.scale, d.cap = 0.75, c.cap
			_, _, softmax := d.reference()
			tol := tolerance(!c.exact, headTolExact, headTolInt16, headTolBF16)
			one := d.top(t, c.exact, c.n, 1)
			for _, nth := range []int{2, 5} {
				sameBits(t, fmt.Sprintf("%+v", c), d.top(t, c.exact, c.n, nth), one)
			}
			for tok, p := range softmax {
				want := slices.Clone(p)
				slices.SortFunc(want, func(a, b float64) int { return cmp.Compare(b, a) })
				got := one.v[tok*2*c.n:][:2*c.n]
				seen := map[float32]bool{}
				for j := range c.n {
					id, lp := int(got[j]), float64(got[c.n+j])
					if seen[got[j]] || !(math.Abs(lp-math.Log(want[j])) <= tol) ||
						!(math.Abs(lp-math.Log(p[id])) <= tol) || j > 0 && got[c.n+j] > got[c.n+j-1] {
						t.Fatalf("%+v: token %d: place %d is row %d with %v, the reference has %v for it and %v there",
							c, tok, j, id, lp, math.Log(p[id]), math.Log(want[j]))
					}
					seen[got[j]] = true
				}
			}
		}
	})
}

// topCall is a call for the n largest logits.
func (d *head) topCall(exact bool, n int, out, scratch *matrix) Call {
	k := HeadTopConstants{Exact: exact, Scale: d.scale, Cap: d.cap}
	c := OpHeadTop.Call(k, out.arg(), d.h.arg(), d.w.arg(), Arg{}, Arg{}, scratch.arg())
	if d.w2 != nil {
		c.A[3], c.A[4] = d.h2.arg(), d.w2.arg()
	}
	return c
}

func (d *head) top(t *testing.T, exact bool, n, nth int) *matrix {
	t.Helper()
	out := newMatrix(2*n*d.h.ne1, 1)
	scratch := newMatrix(int(HeadTopScratchBytes(int64(d.w.ne1), int64(d.h.ne1), int64(n)))/4, 1)
	call := d.topCall(exact, n, out, scratch)
	for _, op := range []Op{OpHeadTop.Op, OpHeadTopMerge.Op} {
		call.Op = op
		if err := runCall(&call, nth); err != nil {
			t.Fatal(err)
		}
	}
	out.checkGuards(t)
	scratch.checkGuards(t)
	return out
}

// TestHeadTopTies: of equal logits the smaller rows are named, in order.
func TestHeadTopTies(t *testing.T) {
	d := newHead(rand.New(rand.NewPCG(29, 30)), F32, 8, 5000, 1, 0, 1)
	clear(d.h.row(0))
	for j, id := range d.top(t, true, 40, 3).v[:40] {
		if int(id) != j {
			t.Fatalf("place %d is row %v", j, id)
		}
	}
}

func TestHeadTopRefuses(t *testing.T) {
	d := newHead(rand.New(rand.NewPCG(21, 22)), q8, 32, 64, 3, 2, 1)
	out, scratch := newMatrix(2*4*3, 1), newMatrix(int(HeadTopScratchBytes(64, 3, 4))/4, 1)
	good := d.topCall(false, 4, out, scratch)
	if err := Check(&good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(c *Call){
		"scratch too small":       func(c *Call) { c.A[5].Ne0-- },
		"scratch absent":          func(c *Call) { c.A[5].Data = nil },
		"none":                    func(c *Call) { c.A[0].Ne0 = 0 },
		"no whole number":         func(c *Call) { c.A[0].Ne0-- },
		"more than there are":     func(c *Call) { c.A[2].Ne1, c.A[4].Ne1 = 3, 3 },
		"half a second pair":      func(c *Call) { c.A[3].Data = nil },
		"too many tokens":         func(c *Call) { c.A[1].Ne1 = HeadChunk() + 1 },
		"the output is the input": func(c *Call) { c.A[0].Data = c.A[1].Data },
	} {
		c := good
		spoil(&c)
		if err := Check(&c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestHeadTargetOutside: a target that is no row of the vocabulary yields NaN, which the loop catches, not another
// row's probability.
func TestHeadTargetOutside(t *testing.T) {
	d := newHead(rand.New(rand.NewPCG(19, 20)), F32, 8, 40, 2, 0, 1)
	d.targets[1] = 40
	o := d.run(t, true, true, 1)
	dh, coef := newMatrix(8, 2), newMatrix(2, 1)
	back := callOf(OpHeadBack, HeadConstants{Scale: 1}, dh, o.e, coef)
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
	m := func(ne0, ne1 int) Arg { return newMatrix(ne0, ne1).arg() }
	good := func(entropy bool) *Call {
		c := OpHead.Call(HeadConstants{Entropy: entropy, Scale: 1}, m(3, 1), m(3, 1), m(32, 3), d.h.arg(), d.w.arg(),
			ints(d.targets, 3), d.h2.arg(), d.w2.arg(), m(2, 3),
			m(int(HeadScratchBytes(32, 2, 64, 3, 1, true, entropy))/4, 1), Arg{}, Arg{}, Arg{})
		if entropy {
			c.A[10], c.A[11], c.A[12] = m(3, 1), m(32, 3), m(2, 3)
		}
		return &c
	}
	for _, entropy := range []bool{false, true} {
		if err := Check(good(entropy)); err != nil {
			t.Fatal(err)
		}
	}
	again := func(c *Call, k HeadConstants) { *c = OpHead.Call(k, c.A[:c.NArgs]...) }
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
		"rest without room":    func(c *Call) { again(c, HeadConstants{Rest: true, Scale: 1}) },
		"empty vocabulary":     func(c *Call) { c.A[4].Ne1 = 0 },
		"no scale":             func(c *Call) { again(c, HeadConstants{}) },
		"a scale of infinity":  func(c *Call) { again(c, HeadConstants{Scale: math.Inf(1)}) },
		"a bound below 0":      func(c *Call) { again(c, HeadConstants{Scale: 1, Cap: -1}) },
		"a bound of infinity":  func(c *Call) { again(c, HeadConstants{Scale: 1, Cap: math.Inf(1)}) },
		"an entropy, no room":  func(c *Call) { again(c, HeadConstants{Entropy: true, Scale: 1}) },
		"entropy: none":        func(c *Call) { c.A[10].Data = nil },
		"entropy: a size":      func(c *Call) { c.A[10].Ne0 = 2 },
		"entropy: no rows":     func(c *Call) { c.A[11].Data = nil },
		"entropy: rows":        func(c *Call) { c.A[11].Ne1 = 2 },
		"entropy: second rows": func(c *Call) { c.A[12].Data = nil },
		"entropy: no mean":     func(c *Call) { c.A[2].Data = nil },
		"entropy: overlap":     func(c *Call) { c.A[11].Data = c.A[2].Data },
		"entropy: rest":        func(c *Call) { again(c, HeadConstants{Entropy: true, Rest: true, Scale: 1}) },
	} {
		c := good(strings.HasPrefix(name, "entropy"))
		spoil(c)
		if err := Check(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestHeadDerivativesRefuse(t *testing.T) {
	d := newHead(rand.New(rand.NewPCG(21, 22)), q8, 32, 64, 3, 2, 1)
	m := func(ne0, ne1 int) Arg { return newMatrix(ne0, ne1).arg() }
	back := func() *Call {
		c := OpHeadBack.Call(HeadConstants{Scale: 1}, m(32, 3), m(32, 3), m(3, 1), d.w.arg(), ints(d.targets, 3),
			m(2, 3), m(2, 3), d.w2.arg(), Arg{}, m(3, 1), m(32, 3), m(2, 3))
		return &c
	}
	grad := func() *Call {
		c := OpHeadGradW.Call(HeadConstants{Scale: 1}, m(32, 64), m(2, 64), d.h.arg(), d.w.arg(), ints(d.targets, 3),
			m(3, 1), m(3, 1), d.h2.arg(), d.w2.arg(), Arg{}, m(3, 1), m(3, 1))
		return &c
	}
	for _, c := range []struct {
		name  string
		good  func() *Call
		spoil func(c *Call)
	}{
		{"back: no derivatives", back, func(c *Call) { c.A[2], c.A[9] = Arg{}, Arg{} }},
		{"back: of too few entropies", back, func(c *Call) { c.A[9].Ne0 = 2 }},
		{"back: rows of the entropy", back, func(c *Call) { c.A[10].Ne0 = 31 }},
		{"back: second rows of the entropy", back, func(c *Call) { c.A[11].Data = nil }},
		{"back: rest and entropy", back, func(c *Call) { c.A[2], c.A[8] = m(6, 1), m(6, 1) }},
		{"back: no scale", back, func(c *Call) { *c = OpHeadBack.Call(HeadConstants{}, c.A[:c.NArgs]...) }},
		{"back: a bound, and nothing to tell logits by", back,
			func(c *Call) { *c = OpHeadBack.Call(HeadConstants{Scale: 1, Cap: 9}, c.A[:c.NArgs]...) }},
		{"back: logits, and no bound", back, func(c *Call) { c.A[8] = m(3, 1) }},
		{"grad: no derivatives", grad, func(c *Call) { c.A[6], c.A[10] = Arg{}, Arg{} }},
		{"grad: no entropy", grad, func(c *Call) { c.A[11].Data = nil }},
		{"grad: rest and entropy", grad, func(c *Call) { c.A[6], c.A[9] = m(6, 1), m(6, 1) }},
		{"grad: no scale", grad, func(c *Call) { *c = OpHeadGradW.Call(HeadConstants{}, c.A[:c.NArgs]...) }},
	} {
		call := c.good()
		if err := Check(call); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if c.spoil(call); Check(call) == nil {
			t.Errorf("%s: accepted", c.name)
		}
	}
}
