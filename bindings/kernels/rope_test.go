package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// A ropeCase is one setting of OpRope; base is ggml's freq_base, and so on.
type ropeCase struct {
	d, nRot, nHead, nCtxOrig                   int
	neox                                       bool
	base, scale, ext, attn, betaFast, betaSlow float64
	temp                                       float64
	tempLen                                    int
	factors                                    bool
}

func (c ropeCase) call(y, x *matrix, pos []int32, inverse bool) *Call {
	call := callOf(OpRope,
		RopeConstants{FreqBase: c.base, FreqScale: c.scale, ExtFactor: c.ext, AttnFactor: c.attn, BetaFast: c.betaFast,
			BetaSlow: c.betaSlow, NHead: int64(c.nHead), D: int64(c.d), NRot: int64(c.nRot),
			NCtxOrig: int64(c.nCtxOrig), Neox: c.neox, Temp: c.temp, TempLen: int64(c.tempLen),
			Inverse: inverse}, y, x)
	call.NArgs = 4
	call.A[2] = Matrix(unsafe.Pointer(&pos[0]), I32, 1, int64(len(pos)), 4)
	if c.factors {
		f := newMatrix(c.nRot/2, 1)
		for i := range f.row(0) {
			f.row(0)[i] = 1 + float32(i)/4
		}
		call.A[3] = f.arg()
	}
	return call
}

// ropeTolerance bounds the difference to ggml's results. Measured: 2e-7, the last bits of cosf and sinf.
const ropeTolerance = 2e-6

// TestRopeEqualsGGML compares with what ggml 's ggml_rope_ext gave for the same input, at positions 0, 1, 511 and 8191:
// the last head of each token, every `step`-th number.
func TestRopeEqualsGGML(t *testing.T) {
	pos := []int32{0, 1, 511, 8191}
	cases := []struct {
		name string
		ropeCase
		step int
		want [4][]float32
	}{
		{"pairs", ropeCase{d: 8, nRot: 8, nHead: 2, base: 10000, scale: 1, attn: 1}, 1, [4][]float32{
			{0.375, 1, -1.25, -0.625, 0, 0.625, 1.25, -1},
			{-0.18710458, -1.2168059, 0.049500458, 0.7587323, 1.383681, -0.8612065, -0.25037488, 0.3747498},
			{-0.88946885, -0.19227642, -0.3676281, -1.5224897, 0.41259217, 0.30885705, 1.5314689, -0.4311068},
			{0.33110887, 1.3577526, -0.47187164, -0.40983185, 1.4440912, -0.69072455, -0.11193279, -0.43657306}}},
		{"halves of a part", ropeCase{d: 8, nRot: 6, nHead: 1, neox: true, base: 1e6, scale: 1, attn: 1}, 1,
			[4][]float32{
				{-1.375, -0.75, -0.125, 0.5, 1.125, -1.125, -0.5, 0.125},
				{0.84147096, 0.6287187, 1.249975, -0.5403023, -0.36873135, 0.250125, 0.875, -1.375},
				{-0.97922236, 0.58317494, -0.18582648, 1.0355546, 1.1939565, -1.2611377, -0.625, 0},
				{-0.77758384, 0.60029167, 0.6769226, 0.82256514, -0.37369758, 0.9072077, 0.75, 1.375}}},
		{"pairs with factors",
			ropeCase{d: 8, nRot: 8, nHead: 1, factors: true, nCtxOrig: 8192, base: 5e5, scale: 1, attn: 1}, 1,
			[4][]float32{
				{-1.375, -0.75, -0.125, 0.5, 1.125, -1.125, -0.5, 0.125},
				{-0.5259193, 0.33768892, 1.2795147, -0.96194714, -0.37523556, 0.24964634, 0.8750418, -1.3749734},
				{0.12299064, 1.6251533, 0.112981275, -0.4363029, 1.4653652, -0.64436376, -0.62492466, -0.009705501},
				{0.4623022, -0.2278194, 1.3174161, 0.8920005, -0.18944919, -0.47930574, 0.3881328, 1.5173918}}},
		{"YaRN", ropeCase{d: 64, nRot: 64, nHead: 1, neox: true, nCtxOrig: 4096, base: 10000, scale: 0.25, ext: 1,
			attn: 1, betaFast: 32, betaSlow: 1}, 5, [4][]float32{
			{-1.5656154, -1.2809582, -0.99630076, -0.7116434, -0.42698604, -0.14232868, 0.14232868, 0.42698604,
				0.7116434, 0.99630076, 1.2809582, 1.5656154, -1.4232868},
			{0.11976545, 0.24325505, 0.54441625, 0.8471813, 1.1372955, 1.4230467, -1.565685, -1.634792, -1.0765783,
				-0.7226698, -0.427846, -0.14232866, 0.14235118},
			{-1.99348, 1.8445975, 0.4494338, -1.103056, 0.008128226, -0.24250986, 0.0032330758, 0.32862186, 0.90962285,
				-1.2658732, 1.3073518, 1.6681095, -1.6218206},
			{-0.1251956, 0.08982318, -0.4199301, -0.9018329, 0.81658876, -1.0928428, 0.9560477, 1.3709099,
				-0.0056595504, 1.0635759, -0.39996052, 0.20411819, 0.08585813}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			atEveryLevel(t, func(t *testing.T) {
				x := newMatrix(c.d*c.nHead, len(pos))
				for r := range pos {
					for i := range x.row(r) {
						x.row(r)[i] = float32((i/c.d*37+r*11+i%c.d*5)%23-11) / 8
					}
				}
				y := runThreads(t, "rope", []*matrix{newMatrix(x.ne0, x.ne1)},
					func(o []*matrix) *Call { return c.call(o[0], x, pos, false) })[0]
				for r, want := range c.want {
					for i, w := range want {
						if got := y.row(r)[(c.nHead-1)*c.d+i*c.step]; math.Abs(float64(got-w)) > ropeTolerance {
							t.Errorf("position %d, number %d: got %v, want %v", pos[r], i*c.step, got, w)
						}
					}
				}
			})
		})
	}
}

// refRope rotates in float64, with angles from powers instead of repeated products.
func refRope(c ropeCase, x mat, pos []int32, inverse bool) mat {
	y := newMat(x.ne0, x.ne1)
	for r := range x.ne1 {
		temp := 1.0
		if c.temp != 0 {
			temp += c.temp * math.Log(1+float64(int(pos[r])/c.tempLen))
		}
		for i, v := range x.row(r) {
			y.row(r)[i] = temp * v
		}
		for h := range c.nHead {
			in, out := x.row(r)[h*c.d:], y.row(r)[h*c.d:]
			for i := range c.nRot / 2 {
				sin, cos := math.Sincos(float64(pos[r]) * c.scale * math.Pow(c.base, -2*float64(i)/float64(c.nRot)))
				if inverse {
					sin = -sin
				}
				a, b := 2*i, 2*i+1
				if c.neox {
					a, b = i, i+c.nRot/2
				}
				out[a] = temp * c.attn * (in[a]*cos - in[b]*sin)
				out[b] = temp * c.attn * (in[b]*cos + in[a]*sin)
			}
		}
	}
	return y
}

// TestRope compares with exact angles over odd sizes, both directions, in place and not. The tolerance is that of F32
// angles: at position 500 an angle of 500 has a rounding of 3e-5.
func TestRope(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		for _, s := range []struct{ d, nRot, nHead int }{{2, 2, 1}, {5, 2, 3}, {8, 6, 2}, {33, 32, 2}, {64, 64, 4},
			{80, 20, 1}, {96, 96, 2}, {70, 66, 3}} {
			for way := range 8 {
				neox, inverse := way&1 != 0, way&2 != 0
				c := ropeCase{d: s.d, nRot: s.nRot, nHead: s.nHead, neox: neox, base: 10000, scale: 1, attn: 1.25}
				if way&4 != 0 {
					c.temp, c.tempLen = 0.25, 100
				}
				what := fmt.Sprintf("%v neox %v inverse %v temperature %g", s, neox, inverse, c.temp)
				pos := []int32{0, 3, 500, 17, 499}
				x := fill(rand.New(rand.NewPCG(1, 1)), newStrided(s.d*s.nHead, len(pos), s.d*s.nHead+3))
				y := runThreads(t, what, []*matrix{newMatrix(x.ne0, x.ne1)},
					func(o []*matrix) *Call { return c.call(o[0], x, pos, inverse) })[0]
				if e, at := farthest(y, refRope(c, toMat(x), pos, inverse)); e > 2e-4 {
					t.Errorf("%s: differs by %.1e at %s", what, e, at)
				}
				over := runThreads(t, what, []*matrix{x},
					func(o []*matrix) *Call { return c.call(o[0], o[0], pos, inverse) })[0]
				sameBits(t, what+" in place", over, y)
			}
		}
	})
}

// TestRopeInverse: the inverse rotation is the transpose, hence the gradient, and undoes the rotation when attn_factor
// is 1.
func TestRopeInverse(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		c := ropeCase{d: 48, nRot: 40, nHead: 2, base: 10000, scale: 1, attn: 1}
		pos := []int32{1, 77, 4000}
		x := fill(rand.New(rand.NewPCG(2, 2)), newMatrix(96, 3))
		y := x.clone()
		for _, inverse := range []bool{false, true} {
			if err := runCall(c.call(y, y, pos, inverse), 1); err != nil {
				t.Fatal(err)
			}
		}
		if e, at := farthest(y, toMat(x)); e > 1e-6 {
			t.Errorf("there and back differs by %.1e at %s", e, at)
		}
	})
}

func TestRopeRefuses(t *testing.T) {
	good := ropeCase{d: 8, nRot: 8, nHead: 2, base: 10000, scale: 1, attn: 1}
	for fault, spoil := range map[string]func(c *ropeCase){
		"odd n_rot":              func(c *ropeCase) { c.nRot = 7 },
		"n_rot 0":                func(c *ropeCase) { c.nRot = 0 },
		"n_rot above d":          func(c *ropeCase) { c.nRot = 10 },
		"heads":                  func(c *ropeCase) { c.nHead = 3 },
		"base":                   func(c *ropeCase) { c.base = 0 },
		"scale":                  func(c *ropeCase) { c.scale = math.Inf(1) },
		"YaRN without beta":      func(c *ropeCase) { c.ext, c.nCtxOrig = 1, 4096 },
		"endless temperature":    func(c *ropeCase) { c.temp, c.tempLen = math.Inf(1), 1 },
		"temperature's length 0": func(c *ropeCase) { c.temp = 0.1 },
		"YaRN without ctx":       func(c *ropeCase) { c.ext, c.betaFast, c.betaSlow = 1, 32, 1 },
	} {
		c, x, pos := good, newMatrix(16, 2), []int32{0, 1}
		if err := Check(c.call(x, x, pos, false)); err != nil {
			t.Fatalf("a good call is refused: %v", err)
		}
		spoil(&c)
		if err := Check(c.call(x, x, pos, false)); err == nil {
			t.Errorf("%s: accepted", fault)
		}
	}
	c, x := good, newMatrix(16, 3)
	if err := Check(c.call(x, x, []int32{0, 1}, false)); err == nil {
		t.Error("fewer positions than tokens: accepted")
	}
}
