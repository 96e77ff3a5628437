package kernels

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// Tolerances, as the largest error over the norm of what was summed (see product). Measured over the cases below: F32
// products 2.6e-6, INT16 3.5e-4 (half a step of 1/4094 is 1.2e-4), BF16 products 1.0e-2 (a number rounded to 8 bits is
// off by up to 2^-9 of itself, so a product by up to 2^-8 = 3.9e-3; with one product in the sum that is the error, with
// many the worst of some 10^4 sums is more).
const (
	tolF32   = 4e-6
	tolInt16 = 7e-4
	tolBF16  = 2e-2
)

// tolerance picks a product's: an exact one's, or that of what the level's packed activations are made of.
func tolerance(fast bool, f32, int16, bf16 float64) float64 {
	switch {
	case fast && PackedFormat() == FormatBF16:
		return bf16
	case fast && PackedFormat() == FormatInt16:
		return int16
	}
	return f32
}

// atEveryLevel runs f once per instruction-set level of this machine.
func atEveryLevel(t *testing.T, f func(t *testing.T)) {
	was := CurrentLevel()
	defer SetLevel(was)
	for _, l := range Levels() {
		t.Run(l.String(), func(t *testing.T) {
			if err := SetLevel(l); err != nil {
				t.Fatal(err)
			}
			f(t)
		})
	}
}

// product is c[t,j] = Σ_r a(t,r)·b(r,j) in float64, and what errors are held against: √Σ(a·b)², and for integers, whose
// errors come from the largest number of each side, √n·max|a|·max|b|.
func product(tokens, cols, reduction int, integers bool, a, b func(i, j int) float32) (sum, norm [][]float64) {
	for t := range tokens {
		s, n := make([]float64, cols), make([]float64, cols)
		for j := range cols {
			var mostA, mostB float64
			for r := range reduction {
				x, y := float64(a(t, r)), float64(b(r, j))
				s[j] += x * y
				n[j] += x * y * x * y
				mostA, mostB = max(mostA, math.Abs(x)), max(mostB, math.Abs(y))
			}
			n[j] = math.Sqrt(n[j])
			if integers {
				n[j] = math.Sqrt(float64(reduction)) * mostA * mostB
			}
		}
		sum, norm = append(sum, s), append(norm, n)
	}
	return sum, norm
}

// onThreads runs the call that writes to a copy of before with several numbers of threads, and returns what all of them
// give.
func onThreads(t *testing.T, what string, before *matrix, call func(out *matrix) *Call) *matrix {
	t.Helper()
	var one *matrix
	for _, nth := range []int{1, 2, 3, 5} {
		out := before.clone()
		if err := runCall(call(out), nth); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		out.checkGuards(t)
		if one == nil {
			one = out
		}
		sameBits(t, fmt.Sprintf("%s: %d threads and 1", what, nth), out, one)
	}
	return one
}

// linearCase is one product with a stored matrix; k and n are the layer's inputs and outputs.
type linearCase struct {
	op      Kernel[LinearConstants]
	typ     Type
	k, n, t int
	fast    bool
	bias    bool
	acc     bool
	scale   float64
	rank    int // of the second pair; 0: none
	typ2    Type
	fast2   bool
}

func (c linearCase) String() string {
	tr, _ := traitsOf(c.typ)
	return fmt.Sprintf("%v/%s/k%d n%d t%d fast=%v bias=%v acc=%v rank=%d", c.op.Op, tr.name, c.k, c.n, c.t, c.fast,
		c.bias, c.acc, c.rank)
}

func (c linearCase) run(t *testing.T, r *rand.Rand) {
	in, out := c.k, c.n
	if c.op == OpLinearT {
		in, out = c.n, c.k
	}
	w := randomWeights(r, c.typ, c.k, c.n)
	x := fill(r, newStrided(in, c.t, in+3))
	before := fill(r, newStrided(out, c.t, out+5))
	bias := randomMatrix(r, out, 1)
	call := c.op.Call(LinearConstants{Scale: c.scale, Scale2: 0.75, Acc: c.acc}, Arg{}, x.arg(), w.arg(), Arg{}, Arg{},
		Arg{})
	w2, x2 := newStored(F32, 1, 1), fill(r, newStrided(c.rank, c.t, c.rank+1))
	if c.rank > 0 {
		if w2 = randomWeights(r, c.typ2, c.rank, out); c.op == OpLinearT {
			w2 = randomWeights(r, c.typ2, out, c.rank)
		}
		call.A[4], call.A[5] = x2.arg(), w2.arg()
		if c.fast2 {
			call.A[4] = packed(t, x2).arg()
		}
	}
	if c.fast {
		call.A[1] = packed(t, x).arg()
	}
	if c.bias {
		call.A[3] = bias.arg()
	}
	one := onThreads(t, c.String(), before, func(y *matrix) *Call {
		call.A[0] = y.arg()
		return &call
	})
	entry := func(w *matrix) func(r, j int) float32 {
		if c.op == OpLinearT {
			return func(r, j int) float32 { return w.row(r)[j] }
		}
		return func(r, j int) float32 { return w.row(j)[r] }
	}
	integers := PackedFormat() == FormatInt16
	sum, norm := product(c.t, out, in, c.fast && integers, func(t, r int) float32 { return x.row(t)[r] },
		entry(w.values))
	sum2, norm2 := product(c.t, out, c.rank, c.fast2 && integers, func(t, r int) float32 { return x2.row(t)[r] },
		entry(w2.values))
	tol := tolerance(c.fast || c.fast2, tolF32, tolInt16, tolBF16)
	for tok := range c.t {
		for j := range out {
			want, n := c.scale*sum[tok][j]+0.75*sum2[tok][j], math.Abs(c.scale)*norm[tok][j]+0.75*norm2[tok][j]
			if c.bias {
				want += float64(bias.row(0)[j])
				n += math.Abs(float64(bias.row(0)[j]))
			}
			if c.acc {
				want += float64(before.row(tok)[j])
				n += math.Abs(float64(before.row(tok)[j]))
			}
			if got := float64(one.row(tok)[j]); !(math.Abs(got-want) <= tol*n+1e-30) {
				t.Fatalf("%v: token %d output %d: got %v, want %v (error %.2g of the norm, allowed %.2g)", c, tok, j,
					got, want, math.Abs(got-want)/n, tol)
			}
			if n > 0 {
				gemmError[tol] = max(gemmError[tol], math.Abs(float64(one.row(tok)[j])-want)/n)
			}
		}
	}
}

// gemmError is the largest error seen so far per tolerance; TestLinear logs it, for the comment at the tolerances.
var gemmError = map[float64]float64{}

func TestLinear(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		for _, op := range []Kernel[LinearConstants]{OpLinear, OpLinearT} {
			for _, fast := range []bool{false, true} {
				for _, c := range []linearCase{
					{typ: F32, k: 1, n: 1, t: 1},
					{typ: F32, k: 7, n: 5, t: 3, bias: true},
					{typ: F32, k: 33, n: 17, t: 13, acc: true, rank: 4},
					{typ: F16, k: 67, n: 259, t: 2},
					{typ: BF16, k: 129, n: 31, t: 25, bias: true, acc: true, rank: 16},
					{typ: F32, k: 16, n: 16, t: 0},
					{typ: F32, k: 16, n: 0, t: 4},
					{typ: F32, k: 531, n: 16, t: 29, acc: true},
					{typ: F32, k: 16, n: 300, t: 16, acc: true},
					{typ: q8, k: 32, n: 1, t: 12},
					{typ: q8, k: 896, n: 70, t: 37, bias: true},
					{typ: q4, k: 544, n: 33, t: 24},
					{typ: q5, k: 288, n: 65, t: 11, acc: true},
					{typ: q4k, k: 512, n: 530, t: 14, rank: 1},
					{typ: q6k, k: 768, n: 19, t: 49, acc: true},
					{typ: q8, k: 32, n: 37, t: 1050, acc: true, bias: true, rank: 3}, // stretches of tokens
				} {
					c.op, c.fast, c.scale = op, fast, 1
					if c.acc {
						c.scale = -0.37
					}
					c.bias = c.bias && op == OpLinear
					c.run(t, r)
				}
			}
		}
		t.Logf("largest errors so far: F32 %.2g, INT16 %.2g, BF16 %.2g of the norm", gemmError[tolF32],
			gemmError[tolInt16], gemmError[tolBF16])
	})
}

// TestLinearNotFinite: a number that is none reaches every output it is part of, whatever products are made of, and no
// other.
func TestLinearNotFinite(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(11, 12))
		const k, n, tokens = 300, 40, 9
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
			for _, op := range []Kernel[LinearConstants]{OpLinear, OpLinearT} {
				in, out := k, n
				if op == OpLinearT {
					in, out = n, k
				}
				for _, inWeights := range []bool{false, true} {
					x, w, y := randomMatrix(r, in, tokens), randomWeights(r, F32, k, n), newMatrix(out, tokens)
					const token, output = 4, 31
					if inWeights {
						row, column := output, 270
						if op == OpLinearT {
							row, column = 17, output
						}
						binary.LittleEndian.PutUint32(w.b[row*w.nb1+4*column:], math.Float32bits(bad))
					} else {
						x.row(token)[33] = bad
					}
					call := op.Call(LinearConstants{Scale: 1}, y.arg(), packed(t, x).arg(), w.arg())
					if err := runCall(&call, 2); err != nil {
						t.Fatal(err)
					}
					for tok := range tokens {
						for j, v := range y.row(tok) {
							reached := !inWeights && tok == token || inWeights && j == output
							if finite := !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0); finite == reached {
								t.Fatalf("%v with %v (in the weights: %v): token %d output %d is %v", op.Op, bad,
									inWeights, tok, j, v)
							}
						}
					}
				}
			}
		}
	})
}

// TestLinearTypes runs every storage type of ggml's through both products.
func TestLinearTypes(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		for _, typ := range storageTypes() {
			for _, op := range []Kernel[LinearConstants]{OpLinear, OpLinearT} {
				linearCase{op: op, typ: typ, k: 512, n: 37, t: 15, fast: true, scale: 1}.run(t, r)
				linearCase{op: op, typ: typ, k: 256, n: 3, t: 2, scale: 1}.run(t, r)
				tr, _ := traitsOf(typ)
				for _, tokens := range []int{0, 1, 13} {
					linearCase{op: op, typ: typ, k: tr.block, n: 1, t: tokens, fast: true, scale: 1}.run(t, r)
					linearCase{op: op, typ: typ, k: 3 * tr.block, n: 35, t: tokens, scale: 1, acc: true}.run(t, r)
				}
				// As the second of a pair: both products of the base.
				linearCase{op: op, typ: q8, k: 256, n: 256, t: 14, fast: true, scale: 1, typ2: typ, rank: 256,
					fast2: true}.run(t, r)
			}
		}
	})
}

// TestOuter compares the gradient of a matrix with float64.
func TestOuter(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(7, 8))
		for _, c := range []struct {
			k, n, t   int
			acc, fast bool
		}{
			{1, 1, 1, false, false}, {33, 16, 7, true, false}, {300, 5, 0, false, false}, {300, 5, 0, true, false},
			{40, 70, 530, true, false}, {16, 300, 19, false, false}, {5, 0, 3, false, false},
			{1, 1, 1, false, true}, {33, 16, 7, true, true}, {300, 5, 0, true, true}, {40, 70, 1030, true, true},
			{16, 300, 19, false, true}, {600, 48, 64, false, true},
		} {
			x, dy := fill(r, newStrided(c.k, c.t, c.k+1)), fill(r, newStrided(c.n, c.t, c.n+2))
			before := fill(r, newStrided(c.k, c.n, c.k+3))
			call := OpOuter.Call(OuterConstants{Scale: 0.5, Acc: c.acc, Fast: c.fast}, Arg{}, x.arg(), dy.arg())
			tol := tolerance(c.fast, tolF32, tolF32, tolBF16) // no level has integers here
			one := onThreads(t, fmt.Sprintf("outer %+v", c), before, func(dw *matrix) *Call {
				call.A[0] = dw.arg()
				return &call
			})
			sum, norm := product(c.n, c.k, c.t, false, func(n, i int) float32 { return dy.row(i)[n] },
				func(i, k int) float32 { return x.row(i)[k] })
			for n := range c.n {
				for k := range c.k {
					want, by := 0.5*sum[n][k], 0.5*norm[n][k]
					if c.acc {
						want += float64(before.row(n)[k])
						by += math.Abs(float64(before.row(n)[k]))
					}
					if got := float64(one.row(n)[k]); !(math.Abs(got-want) <= tol*by) {
						t.Fatalf("%+v: dW[%d,%d] is %v, want %v", c, k, n, got, want)
					}
				}
			}
		}
	})
}

func TestLinearRefuses(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	w, x, y := randomWeights(r, q8, 64, 8), randomMatrix(r, 64, 3), newMatrix(8, 3)
	good := func() *Call {
		c := OpLinear.Call(LinearConstants{Scale: 1}, y.arg(), x.arg(), w.arg(), Arg{})
		return &c
	}
	if err := Check(good()); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(c *Call){
		"unknown type":        func(c *Call) { c.A[2].Type = 77 },
		"removed type":        func(c *Call) { c.A[2].Type = 4 },
		"integer type":        func(c *Call) { c.A[2].Type = I32 },
		"part of a block":     func(c *Call) { c.A[2].Ne0, c.A[1].Ne0 = 63, 63 },
		"rows overlap":        func(c *Call) { c.A[2].Nb1 = 67 },
		"inputs do not fit":   func(c *Call) { c.A[1].Ne0 = 32 },
		"outputs do not fit":  func(c *Call) { c.A[0].Ne0 = 9 },
		"tokens do not fit":   func(c *Call) { c.A[0].Ne1 = 2 },
		"absent input":        func(c *Call) { c.A[1].Data = nil },
		"absent matrix":       func(c *Call) { c.A[2].Data = nil },
		"absent output":       func(c *Call) { c.A[0].Data = nil },
		"negative size":       func(c *Call) { c.A[0].Ne1 = -3 },
		"several matrices":    func(c *Call) { c.A[2].Ne2 = 2 },
		"bias of wrong size":  func(c *Call) { c.A[3] = x.arg() },
		"half a second pair":  func(c *Call) { c.NArgs, c.A[4] = 6, x.arg() },
		"second pair's size":  func(c *Call) { c.NArgs, c.A[4], c.A[5] = 6, x.arg(), randomMatrix(r, 64, 9).arg() },
		"output is input":     func(c *Call) { c.A[0] = c.A[1]; c.A[0].Ne0, c.A[0].Nb1 = 8, 32 },
		"quantized input":     func(c *Call) { c.A[1].Type = q8 },
		"short output stride": func(c *Call) { c.A[0].Nb1 = 4 },
	} {
		c := good()
		spoil(c)
		if err := Check(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
