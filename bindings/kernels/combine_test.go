package kernels

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// A rowsCase is an operation on tokens' rows with its reference, which adds to what its output is.
type rowsCase struct {
	name string
	call func(g *routing, out, in []*matrix) Call
	out  []string // of each output and input: what its rows are of
	in   []string
	adds bool
	ref  func(g *routing, in []mat, out []mat)
}

// TestCombine holds the operations on tokens' rows to plain loops.
func TestCombine(t *testing.T) {
	const ne0 = 35
	cases := []rowsCase{
		{"combine", func(g *routing, o, in []*matrix) Call {
			return OpCombine.Call(CombineConstants{}, o[0].arg(), in[0].arg(), g.choices(g.at))
		}, []string{"token"}, []string{"row"}, false, refCombine},
		{"combine acc", func(g *routing, o, in []*matrix) Call {
			return OpCombine.Call(CombineConstants{Acc: true}, o[0].arg(), in[0].arg(), g.choices(g.at))
		}, []string{"token"}, []string{"row"}, true, refCombine},
		{"weigh", func(g *routing, o, in []*matrix) Call {
			return OpWeigh.Call(None{}, o[0].arg(), in[0].arg(), in[1].arg(), g.choices(g.at))
		}, []string{"row"}, []string{"row", "choice"}, false, func(g *routing, in, out []mat) {
			for i, at := range g.at {
				for c, x := range in[0].row(int(at)) {
					out[0].row(int(at))[c] = in[1].d[i] * x
				}
			}
		}},
		{"weigh_back", func(g *routing, o, in []*matrix) Call {
			return OpWeighBack.Call(None{}, o[0].arg(), o[1].arg(), in[0].arg(), in[1].arg(), g.choices(g.at),
				in[2].arg())
		}, []string{"row", "choice"}, []string{"row", "choice", "row"}, false, func(g *routing, in, out []mat) {
			for i, at := range g.at {
				for c, dy := range in[2].row(int(at)) {
					out[0].row(int(at))[c] = in[1].d[i] * dy
					out[1].d[i] += in[0].row(int(at))[c] * dy
				}
			}
		}},
		{"weighed_bias", func(g *routing, o, in []*matrix) Call {
			return OpWeighedBias.Call(WeighedBiasConstants{}, o[0].arg(), in[0].arg(), in[1].arg(),
				g.choices(g.chosen))
		}, []string{"token"}, []string{"expert", "choice"}, false, refWeighedBias},
		{"weighed_bias acc", func(g *routing, o, in []*matrix) Call {
			return OpWeighedBias.Call(WeighedBiasConstants{Acc: true}, o[0].arg(), in[0].arg(), in[1].arg(),
				g.choices(g.chosen))
		}, []string{"token"}, []string{"expert", "choice"}, true, refWeighedBias},
		{"weighed_bias_back", func(g *routing, o, in []*matrix) Call {
			return OpWeighedBiasBack.Call(None{}, o[0].arg(), in[0].arg(), g.choices(g.chosen), in[1].arg())
		}, []string{"choice"}, []string{"expert", "token"}, false, func(g *routing, in, out []mat) {
			for i, e := range g.chosen {
				for c, b := range in[0].row(int(e)) {
					out[0].d[i] += b * in[1].row(i / g.k)[c]
				}
			}
		}},
		{"weighed_bias_grad", func(g *routing, o, in []*matrix) Call {
			return OpWeighedBiasGrad.Call(None{}, o[0].arg(), in[0].arg(), g.choices(g.chosen), in[1].arg())
		}, []string{"expert"}, []string{"choice", "token"}, true, func(g *routing, in, out []mat) {
			for i, e := range g.chosen {
				for c, dy := range in[1].row(i / g.k) {
					out[0].row(int(e))[c] += in[0].d[i] * dy
				}
			}
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			atEveryLevel(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(41, 42))
				for _, s := range [][3]int{{1, 1, 3}, {5, 2, 7}, {64, 8, 30}, {6, 2, 0}} {
					c.run(t, r, newRouting(r, s[0], s[1], s[2]), ne0)
				}
			})
		})
	}
}

func refCombine(g *routing, in, out []mat) {
	for i, at := range g.at {
		for c, x := range in[0].row(int(at)) {
			out[0].row(i / g.k)[c] += x
		}
	}
}

func refWeighedBias(g *routing, in, out []mat) {
	for i, e := range g.chosen {
		for c, b := range in[0].row(int(e)) {
			out[0].row(i / g.k)[c] += in[1].d[i] * b
		}
	}
}

func (c rowsCase) run(t *testing.T, r *rand.Rand, g *routing, ne0 int) {
	make := func(names []string) (ms []*matrix, mats []mat) {
		for _, name := range names {
			n, pad := ne0, 2
			if name == "choice" {
				n, pad = g.k, 0
			}
			rows := map[string]int{"token": g.tokens, "row": len(g.from), "choice": g.tokens, "expert": g.experts}[name]
			m := fill(r, newStrided(n, rows, n+pad))
			ms, mats = append(ms, m), append(mats, toMat(m))
		}
		return ms, mats
	}
	what := fmt.Sprintf("%s, %d of %d experts, %d tokens", c.name, g.k, g.experts, g.tokens)
	ins, in64 := make(c.in)
	outs, want := make(c.out)
	got := runThreads(t, what, outs, func(o []*matrix) *Call {
		call := c.call(g, o, ins)
		return &call
	})
	for i := range want {
		if !c.adds {
			clear(want[i].d)
		}
	}
	c.ref(g, in64, want)
	for i := range want {
		if d, at := farthest(got[i], want[i]); d > rowTolerance {
			t.Errorf("%s: output %d differs by %.1e at %s", what, i, d, at)
		}
	}
}

// TestCombineRefuses: what is written lies apart from what is read, and rows are as many as choices.
func TestCombineRefuses(t *testing.T) {
	at := table([]int32{0, 1, 2, 3}, 2, 2)
	x, w, y := newMatrix(5, 4), newMatrix(2, 2), newMatrix(5, 2)
	for name, call := range map[string]Call{
		"rows too few":            OpCombine.Call(CombineConstants{}, y.arg(), newMatrix(5, 3).arg(), at),
		"weights of other tokens": OpWeigh.Call(None{}, x.arg(), x.arg(), newMatrix(2, 3).arg(), at),
		"a gradient over weights": OpWeighBack.Call(None{}, x.arg(), w.arg(), newMatrix(5, 4).arg(), w.arg(), at,
			newMatrix(5, 4).arg()),
		"an output that is a bias": OpWeighedBias.Call(WeighedBiasConstants{}, y.arg(), y.arg(), w.arg(), at),
	} {
		if Check(&call) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
