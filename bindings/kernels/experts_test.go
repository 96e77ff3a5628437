package kernels

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// A routing is what tokens choose, and the rows that come of it, made by the plainest of loops.
type routing struct {
	k, tokens, experts       int
	chosen, at, from, starts []int32
}

// newRouting has each token choose k experts; of four or more experts no token chooses the last but one, and the first
// most.
func newRouting(r *rand.Rand, experts, k, tokens int) *routing {
	g := &routing{k: k, tokens: tokens, experts: experts, at: make([]int32, k*tokens), starts: []int32{0}}
	for range tokens {
		var own []int32
		for len(own) < k {
			e := int32(r.IntN(experts))
			if experts >= 4 && k < experts && e == int32(experts)-2 {
				e = 0
			}
			if !slices.Contains(own, e) {
				own = append(own, e)
			}
		}
		g.chosen = append(g.chosen, own...)
	}
	for e := range experts {
		for i, c := range g.chosen {
			if c == int32(e) {
				g.at[i] = int32(len(g.from))
				g.from = append(g.from, int32(i/k))
			}
		}
		g.starts = append(g.starts, int32(len(g.from)))
	}
	return g
}

// list is an argument of numbers in one row.
func list(v []int32) Arg { return table(v, len(v), 1) }

// table is an argument of rows of ne0 numbers.
func table(v []int32, ne0, ne1 int) Arg {
	return Matrix(unsafe.Pointer(&append(v, 0)[0]), I32, int64(ne0), int64(ne1), int64(ne0)*4)
}

// choices is an argument [k,T].
func (g *routing) choices(v []int32) Arg { return table(v, g.k, g.tokens) }

// rowsOf sees rows [from, from+n) of a matrix.
func (m *matrix) rowsOf(from, n int) *matrix { return &matrix{m.ne0, n, m.stride, m.v[from*m.stride:]} }

// part is the argument of an expert's rows of a stored matrix.
func (w *stored) part(e, height int) Arg {
	return Matrix(unsafe.Pointer(&w.b[e*height*w.nb1]), w.typ, int64(w.ne0), int64(height), int64(w.nb1))
}

// An expertsCase is one product with experts; k and n are a layer's inputs and outputs.
type expertsCase struct {
	typ                         Type
	transposed, fast, bias, acc bool
	experts, used, tokens, k, n int
	rank                        int // of the second pair; 0: none
	gather                      bool
}

// run requires of each expert's rows what the product with its matrix alone gives, bit for bit: that is held to its
// reference by TestLinear.
func (c expertsCase) run(t *testing.T, r *rand.Rand) {
	what := fmt.Sprintf("%+v", c)
	op, one, in, out, r2, out2 := OpExperts, OpLinear, c.k, c.n, c.rank, c.n
	if c.transposed {
		op, one, in, out, r2, out2 = OpExpertsT, OpLinearT, c.n, c.k, c.k, c.rank
	}
	g := newRouting(r, c.experts, c.used, c.tokens)
	rows, wide := len(g.from), c.tokens
	w := randomWeights(r, c.typ, c.k, c.n*c.experts)
	w2 := randomWeights(r, F32, max(r2, 1), max(out2, 1)*c.experts)
	if !c.gather {
		wide = rows
	}
	src, x2 := fill(r, newStrided(in, wide, in+3)), fill(r, newStrided(c.rank, rows, c.rank+1))
	x, bias := src, randomMatrix(r, out, c.experts)
	if c.gather {
		x = newMatrix(in, rows)
		for i, t := range g.from {
			copy(x.row(i), src.row(int(t)))
		}
	}
	k := ExpertsConstants{Scale: 0.75, Scale2: -0.5, Acc: c.acc}
	call := op.Call(k, Arg{}, x.arg(), w.arg(), Arg{}, Arg{}, Arg{}, list(g.starts))
	var ready []float32
	if c.fast {
		ready = make([]float32, PackedBytes(int64(in), int64(rows))/4+1)
		ready[len(ready)-1] = guard
		call.A[1] = Matrix(unsafe.Pointer(&ready[0]), Packed, int64(in), int64(rows), 0)
		pack := OpExpertsPack.Call(None{}, call.A[1], src.arg(), Arg{}, list(g.starts))
		if c.gather {
			pack.A[2] = list(g.from)
		}
		for _, nth := range []int{1, 3} {
			if err := runCall(&pack, nth); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		if ready[len(ready)-1] != guard {
			t.Fatalf("%s: packing wrote beyond PackedBytes", what)
		}
	}
	if c.bias {
		call.A[3] = bias.arg()
	}
	if c.rank > 0 {
		call.A[4], call.A[5] = x2.arg(), w2.arg()
	}
	before := fill(r, newStrided(out, rows, out+5))
	got := onThreads(t, what, before, func(y *matrix) *Call {
		call.A[0] = y.arg()
		return &call
	})
	want := before.clone()
	for e := range c.experts {
		s, n := int(g.starts[e]), int(g.starts[e+1]-g.starts[e])
		if n == 0 {
			continue
		}
		own := x.rowsOf(s, n)
		call := one.Call(LinearConstants{Scale: k.Scale, Scale2: k.Scale2, Acc: c.acc}, want.rowsOf(s, n).arg(),
			own.arg(), w.part(e, c.n), Arg{}, Arg{}, Arg{})
		if c.fast {
			call.A[1] = packed(t, own).arg()
		}
		if c.bias {
			call.A[3] = bias.rowsOf(e, 1).arg()
		}
		if c.rank > 0 {
			call.A[4], call.A[5] = x2.rowsOf(s, n).arg(), w2.part(e, out2)
		}
		if err := runCall(&call, 1); err != nil {
			t.Fatalf("%s: expert %d: %v", what, e, err)
		}
	}
	sameBits(t, what, got, want)
}

func TestExperts(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(21, 22))
		for _, transposed := range []bool{false, true} {
			for _, fast := range []bool{false, true} {
				for _, c := range []expertsCase{
					{typ: F32, experts: 1, used: 1, tokens: 1, k: 1, n: 1},
					{typ: F32, experts: 3, used: 1, tokens: 0, k: 5, n: 7},
					{typ: F32, experts: 5, used: 2, tokens: 7, k: 33, n: 17, acc: true, gather: true},
					{typ: F32, experts: 3, used: 3, tokens: 9, k: 67, n: 40, bias: true, rank: 4},
					{typ: q4k, experts: 8, used: 2, tokens: 61, k: 256, n: 530, gather: true, rank: 2},
					{typ: q6k, experts: 6, used: 4, tokens: 30, k: 512, n: 65, bias: true, gather: true},
					{typ: q8, experts: 128, used: 8, tokens: 20, k: 96, n: 33, acc: true},
					{typ: q8, experts: 2, used: 2, tokens: 600, k: 32, n: 37, gather: true}, // stretches of tokens
				} {
					c.transposed, c.fast = transposed, fast
					c.bias = c.bias && !transposed
					c.run(t, r)
				}
			}
		}
	})
}

// TestExpertsGrads requires of each expert's gradient what its rows alone give, and of an expert without rows nothing.
func TestExpertsGrads(t *testing.T) {
	const k, n, experts = 37, 21, 7
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(23, 24))
		for _, fast := range []bool{false, true} {
			g := newRouting(r, experts, 2, 44)
			rows := len(g.from)
			x, dy := fill(r, newStrided(k, rows, k+1)), fill(r, newStrided(n, rows, n+2))
			dw, db := fill(r, newStrided(k, n*experts, k+3)), fill(r, newStrided(n, experts, n+1))
			q := ExpertsOuterConstants{Scale: -0.75, Fast: fast}
			gotW := onThreads(t, "experts_outer", dw, func(y *matrix) *Call {
				call := OpExpertsOuter.Call(q, y.arg(), x.arg(), dy.arg(), list(g.starts))
				return &call
			})
			gotB := onThreads(t, "experts_bias_grad", db, func(y *matrix) *Call {
				call := OpExpertsBiasGrad.Call(None{}, y.arg(), dy.arg(), list(g.starts))
				return &call
			})
			wantW, wantB := dw.clone(), toMat(db)
			for e := range experts {
				s, m := int(g.starts[e]), int(g.starts[e+1]-g.starts[e])
				call := OpOuter.Call(OuterConstants{Scale: q.Scale, Acc: true, Fast: fast},
					wantW.rowsOf(e*n, n).arg(), x.rowsOf(s, m).arg(), dy.rowsOf(s, m).arg())
				if err := runCall(&call, 1); err != nil {
					t.Fatal(err)
				}
				for i, v := range refColumnSum([]mat{toMat(dy.rowsOf(s, m))}).d {
					wantB.row(e)[i] += v
				}
			}
			sameBits(t, "experts_outer", gotW, wantW)
			if d, at := farthest(gotB, wantB); d > rowTolerance {
				t.Errorf("experts_bias_grad differs by %.1e at %s", d, at)
			}
		}
	})
}

func TestExpertsRefuse(t *testing.T) {
	w, x, y := randomWeights(rand.New(rand.NewPCG(1, 2)), F32, 4, 6), newMatrix(4, 2), newMatrix(3, 2)
	call := OpExperts.Call(ExpertsConstants{Scale: 1}, y.arg(), x.arg(), w.arg(), Arg{}, Arg{}, Arg{},
		list([]int32{0, 1, 2}))
	if err := Check(&call); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(c *Call){
		"a row too few of the matrix": func(c *Call) { c.A[2].Ne1-- },
		"an expert too many":          func(c *Call) { c.A[6] = list([]int32{0, 1, 2, 2}) },
		"no expert":                   func(c *Call) { c.A[6] = list([]int32{0}) },
		"starts that are no integers": func(c *Call) { c.A[6].Type = F32 },
		"a bias of other rows":        func(c *Call) { c.A[3] = newMatrix(3, 1).arg() },
	} {
		other := call
		change(&other)
		if Check(&other) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
