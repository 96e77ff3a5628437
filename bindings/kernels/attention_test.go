package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// attnTolerance bounds |got − want| / (1 + |want|) of attention on normally distributed numbers. Measured: at most 4e-6
// in delta, a plain sum of 256 products, and 3e-6 elsewhere.
const attnTolerance = 2e-5

// An attnCase is one attention problem: its shapes, its tree and its arguments.
type attnCase struct {
	nHead, nKV, d int
	fast, both    bool
	scale, cap    float64
	window        int
	drop          attnDrop
	segs          []treeSeg
	q, k, v, do   *matrix
	o, lse, dq    *matrix
	delta, dk, dv *matrix
	sinks, dsinks *matrix // nil: there are none
}

func (a *attnCase) String() string {
	return fmt.Sprintf("%d heads, %d kv, d %d, tree %v, bidirectional %v, window %d, cap %g, sinks %v, dropout %v",
		a.nHead, a.nKV, a.d, a.segs, a.both, a.window, a.cap, a.sinks != nil, a.drop)
}

// newAttn makes random arguments; pad floats lie between rows.
func newAttn(r *rand.Rand, nHead, nKV, d, pad int, segs []treeSeg) *attnCase {
	a := &attnCase{nHead: nHead, nKV: nKV, d: d, scale: 1 / math.Sqrt(float64(d)), segs: segs}
	tokens := treeTokens(segs)
	room := func(ne0 int) *matrix { return newStrided(ne0, tokens, ne0+pad) }
	nq, nkv := nHead*d, nKV*d
	a.q, a.k, a.v, a.do = fill(r, room(nq)), fill(r, room(nkv)), fill(r, room(nkv)), fill(r, room(nq))
	a.o, a.lse, a.delta = room(nq), room(nHead), room(nHead)
	a.dq, a.dk, a.dv = fill(r, room(nq)), fill(r, room(nkv)), fill(r, room(nkv)) // overwritten, not added to
	return a
}

// sinkStart is what the sinks' gradient is added to.
const sinkStart = 0.5

// sink gives the heads sinks.
func (a *attnCase) sink(r *rand.Rand) *attnCase {
	a.sinks = randomMatrix(r, a.nHead, 1)
	return a
}

// inputs are the reference's.
func (a *attnCase) inputs() []mat {
	in := []mat{toMat(a.q), toMat(a.k), toMat(a.v)}
	if a.sinks != nil {
		in = append(in, toMat(a.sinks))
	}
	return in
}

func (a *attnCase) call(op Kernel[AttnConstants], args ...*matrix) *Call {
	k := AttnConstants{Scale: a.scale, NHead: int64(a.nHead), NKV: int64(a.nKV), D: int64(a.d), Fast: a.fast,
		Bidirectional: a.both, Window: int64(a.window), Cap: a.cap, Drop: a.drop.rate, Stream: a.drop.stream}
	c := callOf(op, k, args...)
	add := func(x Arg) {
		c.A[c.NArgs] = x
		c.NArgs++
	}
	if op == OpAttnDelta {
		return c
	}
	add(treeArg(a.segs))
	if op == OpAttn && a.sinks != nil {
		add(a.sinks.arg())
	} else if op == OpAttn {
		add(Arg{})
	}
	if a.drop.rate > 0 {
		add(Matrix(unsafe.Pointer(&a.drop.seed), I64, 1, 1, 8))
	}
	return c
}

// run computes all operations.
func (a *attnCase) run(t *testing.T) {
	t.Helper()
	what := a.String()
	out := runThreads(t, what, []*matrix{a.o, a.lse}, func(o []*matrix) *Call {
		return a.call(OpAttn, o[0], o[1], a.q, a.k, a.v)
	})
	a.o, a.lse = out[0], out[1]
	a.delta = runThreads(t, what, []*matrix{a.delta}, func(o []*matrix) *Call {
		return a.call(OpAttnDelta, o[0], a.o, a.do)
	})[0]
	a.dq = runThreads(t, what, []*matrix{a.dq}, func(o []*matrix) *Call {
		return a.call(OpAttnBackQ, o[0], a.q, a.k, a.v, a.lse, a.delta, a.do)
	})[0]
	out = runThreads(t, what, []*matrix{a.dk, a.dv}, func(o []*matrix) *Call {
		return a.call(OpAttnBackKV, o[0], o[1], a.q, a.k, a.v, a.lse, a.delta, a.do)
	})
	a.dk, a.dv = out[0], out[1]
	if a.sinks != nil {
		start := newMatrix(a.nHead, 1)
		for h := range a.nHead {
			start.row(0)[h] = sinkStart
		}
		a.dsinks = runThreads(t, what, []*matrix{start}, func(o []*matrix) *Call {
			return callOf(OpAttnSinkGrad, AttnConstants{NHead: int64(a.nHead)}, o[0], a.sinks, a.lse, a.delta)
		})[0]
	}
}

func (a *attnCase) ref() attnRef {
	return attnRef{a.nHead, a.nKV, a.d, a.scale, a.cap, visible(a.segs, a.both, a.window), a.drop}
}

// attnWant is what the reference makes of an attnCase.
type attnWant struct{ o, lse, delta, dq, dk, dv, dsinks mat }

func (a *attnCase) want() attnWant {
	ref, in, do := a.ref(), a.inputs(), toMat(a.do)
	var w attnWant
	w.o, w.lse = ref.forward(in)
	w.delta, w.dq, w.dk, w.dv, w.dsinks = ref.backward(in, w.o, do)
	for h := range w.dsinks.d {
		w.dsinks.d[h] += sinkStart
	}
	return w
}

// check compares all results with the reference's.
func (a *attnCase) check(t *testing.T, want attnWant) {
	t.Helper()
	for _, x := range []struct {
		name string
		got  *matrix
		want mat
	}{{"o", a.o, want.o}, {"lse", a.lse, want.lse}, {"delta", a.delta, want.delta}, {"dq", a.dq, want.dq},
		{"dk", a.dk, want.dk}, {"dv", a.dv, want.dv}, {"dsinks", a.dsinks, want.dsinks}} {
		if x.got == nil {
			continue
		}
		if a.fast {
			if e := distance(x.got, x.want); e > fastTolerance {
				t.Errorf("%s, fast: %s lies %.1e from the reference", a, x.name, e)
			}
			continue
		}
		if e, at := farthest(x.got, x.want); e > attnTolerance {
			t.Errorf("%s: %s differs by %.1e at %s", a, x.name, e, at)
		}
	}
}

// fastTolerance bounds distance in the fast mode. BF16 rounds each number by up to 2^-9. Measured: 0.005 where tokens
// see dozens of others, up to 0.026 where they see one or two, whose dP and delta cancel.
const fastTolerance = 0.04

// distance is the root mean square of got − want over that of want; a tenth is added, since a token that sees only
// itself has gradients of zero (the arguments' size is 1).
func distance(got *matrix, want mat) float64 {
	var diff, size float64
	for r := range want.ne1 {
		for i, w := range want.row(r) {
			diff += (float64(got.row(r)[i]) - w) * (float64(got.row(r)[i]) - w)
			size += w * w
		}
	}
	if len(want.d) == 0 {
		return 0
	}
	n := float64(len(want.d))
	return math.Sqrt(diff/n) / (0.1 + math.Sqrt(size/n))
}

// allModes runs a, causal and bidirectional, exact and fast, at every level and compares it with the reference.
func (a *attnCase) allModes(t *testing.T) {
	var want [2]attnWant
	for i := range want {
		a.both = i == 1
		want[i] = a.want()
	}
	atEveryLevel(t, func(t *testing.T) {
		for i := range want {
			for _, a.fast = range []bool{false, true} {
				a.both = i == 1
				a.run(t)
				a.check(t, want[i])
			}
		}
	})
}

// TestAttention compares attention and its gradients with the reference on trees of every kind and sizes around the
// tiles'.
func TestAttention(t *testing.T) {
	chain := []int{}
	for s := range 40 {
		chain = append(chain, 1+s%3, s-1)
	}
	cases := []struct {
		name          string
		nHead, nKV, d int
		segs          []treeSeg
	}{
		{"one token", 1, 1, 8, treeOf(1, -1)},
		{"no token", 2, 1, 8, treeOf()},
		{"no token in a segment", 2, 1, 8, treeOf(0, -1, 0, 0)},
		{"one root", 4, 2, 16, treeOf(150, -1)},
		{"group of 3, odd d", 6, 2, 33, treeOf(70, -1)},
		{"group of 7", 14, 2, 64, treeOf(45, -1, 20, 0)},
		{"d of 1", 2, 2, 1, treeOf(20, -1)},
		{"d of 80", 2, 1, 80, treeOf(33, -1)},
		{"d of 128", 2, 1, 128, treeOf(40, -1, 17, 0)},
		{"d of 200", 2, 1, 200, treeOf(40, -1, 17, 0)},
		{"d of 256", 3, 1, 256, treeOf(35, -1)},
		{"d of 512", 3, 1, 512, treeOf(35, -1)},
		{"many roots", 2, 1, 24, treeOf(5, -1, 16, -1, 17, -1, 1, -1, 64, -1, 31, -1, 2, -1)},
		{"prompt with two answers", 4, 1, 32, treeOf(70, -1, 21, 0, 33, 0)},
		{"group of answers", 4, 4, 16, treeOf(19, -1, 7, 0, 70, 0, 1, 0, 16, 0)},
		{"chain", 2, 1, 12, treeOf(chain...)},
		{"chain of two rows", 2, 1, 12, treeOf(20, -1, 5, 0, 30, -1, 9, 2, 4, 1, 8, 3)},
		{"empty segments between", 2, 1, 12, treeOf(20, -1, 0, 0, 30, 1, 0, -1, 9, 3, 4, 2)},
		{"empty parent elsewhere", 2, 1, 12, treeOf(0, -1, 9, -1, 30, 0, 7, 1)},
		{"long", 1, 1, 16, treeOf(300, -1, 120, 0, 200, 0, 80, 2)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			pad := c.d % 3 // some rows lie apart
			newAttn(rand.New(rand.NewPCG(1, uint64(c.d))), c.nHead, c.nKV, c.d, pad, c.segs).allModes(t)
		})
	}
}

// TestAttentionWindow is TestAttention where tokens see so far and no further, and where scores are bounded: on
// trees whose branches differ in length, so that positions and places in the row do.
func TestAttentionWindow(t *testing.T) {
	chain := []int{}
	for s := range 40 {
		chain = append(chain, 1+s%3, s-1)
	}
	for _, c := range []struct {
		name          string
		nHead, nKV, d int
		windows       []int
		segs          []treeSeg
	}{
		{"one root", 4, 2, 16, []int{1, 2, 17, 64, 149, 150, 1000}, treeOf(150, -1)},
		{"a head each", 2, 2, 16, []int{1, 15, 33, 70}, treeOf(150, -1)},
		{"long heads", 3, 1, 256, []int{1, 20, 40}, treeOf(75, -1, 9, 0)},
		{"prompt with two answers", 4, 1, 32, []int{1, 5, 22, 40, 90}, treeOf(70, -1, 21, 0, 33, 0)},
		{"answers to answers", 4, 4, 16, []int{3, 18, 60}, treeOf(19, -1, 7, 0, 70, 0, 1, 0, 16, 2, 5, 1, 3, 4)},
		{"many roots", 2, 1, 24, []int{4, 30}, treeOf(5, -1, 16, -1, 17, -1, 1, -1, 64, -1, 31, -1, 2, -1)},
		{"chain", 2, 1, 12, []int{1, 4, 33}, treeOf(chain...)},
		{"empty segments between", 2, 1, 12, []int{2, 9, 25}, treeOf(20, -1, 0, 0, 30, 1, 0, -1, 9, 3, 4, 2)},
		{"long", 1, 1, 16, []int{100, 257}, treeOf(300, -1, 120, 0, 200, 0, 80, 2)},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i, w := range c.windows {
				a := newAttn(rand.New(rand.NewPCG(1, uint64(c.d))), c.nHead, c.nKV, c.d, c.d%3, c.segs)
				if a.window = w; i%2 == 1 {
					a.cap = 0.7
				}
				a.allModes(t)
			}
		})
	}
	t.Run("bounded alone", func(t *testing.T) {
		a := newAttn(rand.New(rand.NewPCG(2, 2)), 4, 2, 33, 1, treeOf(70, -1, 21, 0, 33, 0))
		a.cap = 1.25
		a.allModes(t)
	})
}

// TestAttentionWindowIsWide: a window as wide as a row changes no bit, and what lies outside one changes none either:
// blocks that are left out count for nothing.
func TestAttentionWindowIsWide(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		of := func(window int, both, spoil bool) *attnCase {
			a := newAttn(rand.New(rand.NewPCG(8, 9)), 4, 2, 16, 0, treeOf(200, -1, 40, 0, 30, 0))
			a.both = both
			if a.window = window; spoil { // tokens that no answer sees
				for r := range 100 {
					clear(a.k.row(r))
					clear(a.v.row(r))
				}
			}
			a.run(t)
			return a
		}
		same := func(what string, a, b *attnCase, from int) {
			for r := from; r < 270; r++ {
				for i, v := range a.o.row(r) {
					if math.Float32bits(v) != math.Float32bits(b.o.row(r)[i]) {
						t.Fatalf("%s: o[%d,%d] is %v and %v", what, i, r, v, b.o.row(r)[i])
					}
				}
			}
		}
		for _, both := range []bool{false, true} {
			same("a window of everything", of(0, both, false), of(240, both, false), 0)
			same("what is out of sight", of(70, both, false), of(70, both, true), 200)
		}
	})
}

// TestAttentionRandom is TestAttention on random trees and shapes.
func TestAttentionRandom(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(7, seed))
		maxLen := []int{2, 9, 40}[r.IntN(3)]
		nKV := 1 + r.IntN(3)
		newAttn(r, nKV*(1+r.IntN(5)), nKV, 1+r.IntN(40), r.IntN(3), randomTree(r, 12, maxLen)).allModes(t)
		a := newAttn(r, nKV*(1+r.IntN(5)), nKV, 1+r.IntN(40), r.IntN(3), randomTree(r, 12, maxLen))
		a.window = 1 + r.IntN(50)
		a.allModes(t)
	}
}

// TestAttentionDrop is TestAttention where probabilities are dropped: the mask of every pass is the reference's, at
// every level.
func TestAttentionDrop(t *testing.T) {
	for _, c := range []struct {
		name          string
		nHead, nKV, d int
		drop          attnDrop
		sinks         bool
		cap           float64
		segs          []treeSeg
	}{
		{"one token", 2, 1, 8, attnDrop{0.25, 1, 2}, false, 0, treeOf(1, -1)},
		{"one root", 4, 2, 16, attnDrop{0.1, 1 << 40, 0}, false, 0, treeOf(150, -1)},
		{"short rows", 6, 6, 32, attnDrop{0.1, -5, 1<<32 - 1}, false, 0, treeOf(5, -1, 16, -1, 17, -1, 1, -1, 31, -1)},
		{"tree, sinks, bounded", 6, 2, 33, attnDrop{0.2, 7, 3}, true, 0.7, treeOf(70, -1, 21, 0, 33, 0, 0, 0, 9, 1)},
		{"long heads", 3, 1, 200, attnDrop{0.2, 1, 1}, false, 0, treeOf(40, -1, 17, 0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(31, uint64(c.d)))
			a := newAttn(r, c.nHead, c.nKV, c.d, c.d%3, c.segs)
			if a.drop, a.cap = c.drop, c.cap; c.sinks {
				a.sink(r)
			}
			a.allModes(t)
		})
	}
	t.Run("differences", func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		a := newAttn(r, 4, 2, 8, 0, treeOf(6, -1, 4, 0, 5, 0, 7, -1, 3, 2)).sink(r)
		a.drop, a.window, a.cap = attnDrop{0.3, 11, 5}, 5, 0.8
		a.differences(t)
	})
}

// TestAttentionDifferences holds the gradients to central differences of the reference's forward pass.
func TestAttentionDifferences(t *testing.T) {
	a := newAttn(rand.New(rand.NewPCG(3, 4)), 4, 2, 8, 0, treeOf(6, -1, 4, 0, 5, 0, 7, -1, 3, 2))
	for _, a.both = range []bool{false, true} {
		a.window, a.cap = 0, 0
		a.differences(t)
		a.window, a.cap = 3, 0.8
		a.differences(t)
	}
}

func (a *attnCase) differences(t *testing.T) {
	ref, in := a.ref(), a.inputs()
	forward := func(in []mat) mat { o, _ := ref.forward(in); return o }
	want := make([]mat, len(in))
	for i := range want {
		want[i] = differences(forward, in, toMat(a.do), i)
	}
	if a.sinks != nil {
		for h := range a.nHead {
			want[3].d[h] += sinkStart
		}
	}
	atEveryLevel(t, func(t *testing.T) {
		a.run(t)
		for i, got := range []*matrix{a.dq, a.dk, a.dv, a.dsinks}[:len(want)] {
			if e, at := farthest(got, want[i]); e > attnTolerance {
				t.Errorf("gradient %d differs from central differences by %.1e at %s", i, e, at)
			}
		}
	})
}

// TestAttentionLargeScores uses scores of hundreds, where only the running maximum keeps the exponentials finite.
func TestAttentionLargeScores(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		a := newAttn(rand.New(rand.NewPCG(5, 6)), 2, 1, 32, 0, treeOf(140, -1, 20, 0))
		a.scale = 40
		a.run(t)
		o, lse := a.ref().forward([]mat{toMat(a.q), toMat(a.k), toMat(a.v)})
		// A score of size 1000 has an F32 rounding of 6e-5, which the exponential turns into as much relative error of
		// P.
		if e, at := farthest(a.o, o); e > 5e-3 {
			t.Errorf("o differs by %.1e at %s", e, at)
		}
		if e, at := farthest(a.lse, lse); e > attnTolerance {
			t.Errorf("lse differs by %.1e at %s", e, at)
		}
	})
}

// TestAttentionTreeIsSeparate computes a prompt with two answers once as a tree and twice as whole rows: equal to
// rounding.
func TestAttentionTreeIsSeparate(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		const prompt, first, second = 37, 21, 18
		a := newAttn(rand.New(rand.NewPCG(8, 9)), 4, 2, 16, 0, treeOf(prompt, -1, first, 0, second, 0))
		a.run(t)
		b := newAttn(rand.New(rand.NewPCG(8, 9)), 4, 2, 16, 0, treeOf(prompt+second, -1))
		for _, x := range []struct{ from, to *matrix }{{a.q, b.q}, {a.k, b.k}, {a.v, b.v}} {
			for r := range prompt + second {
				copy(x.to.row(r), x.from.row(r+map[bool]int{true: first}[r >= prompt]))
			}
		}
		b.run(t)
		for r := range second {
			for i, want := range b.o.row(prompt + r) {
				if got := a.o.row(prompt + first + r)[i]; math.Abs(float64(got-want)) > attnTolerance {
					t.Fatalf("o[%d,%d] is %v in the tree, %v in a row of its own", i, r, got, want)
				}
			}
		}
	})
}

func TestAttentionRefuses(t *testing.T) {
	good := func() *attnCase { return newAttn(rand.New(rand.NewPCG(1, 1)), 4, 2, 8, 0, treeOf(6, -1, 4, 0)) }
	forward := func(a *attnCase) *Call { return a.call(OpAttn, a.o, a.lse, a.q, a.k, a.v) }
	backQ := func(a *attnCase) *Call { return a.call(OpAttnBackQ, a.dq, a.q, a.k, a.v, a.lse, a.delta, a.do) }
	backKV := func(a *attnCase) *Call {
		return a.call(OpAttnBackKV, a.dk, a.dv, a.q, a.k, a.v, a.lse, a.delta, a.do)
	}
	for name, call := range map[string]func(a *attnCase) *Call{"forward": forward, "back q": backQ, "back kv": backKV} {
		if err := Check(call(good())); err != nil {
			t.Fatalf("%s: a good call is refused: %v", name, err)
		}
		a := good()
		a.drop = attnDrop{0.1, 1, 1}
		keyed := call(a)
		if err := Check(keyed); err != nil {
			t.Fatalf("%s: a good call with dropout is refused: %v", name, err)
		}
		keyed.NArgs--
		keyed.A[keyed.NArgs] = Arg{}
		if Check(keyed) == nil {
			t.Errorf("%s: dropout without a key: accepted", name)
		}
		for fault, spoil := range map[string]func(a *attnCase){
			"heads":              func(a *attnCase) { a.nHead = 3 },
			"no heads":           func(a *attnCase) { a.nKV = 0 },
			"head length":        func(a *attnCase) { a.d = 16 },
			"head length 0":      func(a *attnCase) { a.d = 0 },
			"scale":              func(a *attnCase) { a.scale = math.NaN() },
			"cap below 0":        func(a *attnCase) { a.cap = -50 },
			"cap without end":    func(a *attnCase) { a.cap = math.Inf(1) },
			"window below 0":     func(a *attnCase) { a.window = -1 },
			"all dropped":        func(a *attnCase) { a.drop.rate = 1 },
			"a stream below 0":   func(a *attnCase) { a.drop = attnDrop{0.1, 1, -1} },
			"a stream too high":  func(a *attnCase) { a.drop = attnDrop{0.1, 1, 1 << 32} },
			"short tree":         func(a *attnCase) { a.segs = treeOf(6, -1, 3, 0) },
			"long tree":          func(a *attnCase) { a.segs = treeOf(6, -1, 5, 0) },
			"gap in the tree":    func(a *attnCase) { a.segs = []treeSeg{{0, 5, -1}, {6, 10, 0}} },
			"overlap":            func(a *attnCase) { a.segs = []treeSeg{{0, 7, -1}, {6, 10, 0}} },
			"segment backwards":  func(a *attnCase) { a.segs = []treeSeg{{0, 12, -1}, {12, 10, 0}} },
			"own parent":         func(a *attnCase) { a.segs = treeOf(6, -1, 4, 1) },
			"parent of nowhere":  func(a *attnCase) { a.segs = treeOf(6, -2, 4, 0) },
			"fewer keys":         func(a *attnCase) { a.k, a.dk = newMatrix(16, 9), newMatrix(16, 9) },
			"log-sum-exp":        func(a *attnCase) { a.lse = newMatrix(2, 10) },
			"output is an input": func(a *attnCase) { a.o, a.dq, a.dk = a.q, a.q, a.k },
		} {
			a := good()
			spoil(a)
			if err := Check(call(a)); err == nil {
				t.Errorf("%s: %s: accepted", name, fault)
			}
		}
	}
}
