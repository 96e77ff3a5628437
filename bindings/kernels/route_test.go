package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
)

// whole sees a matrix's numbers as integers.
func whole(m *matrix) Arg {
	a := m.arg()
	a.Type = I32
	return a
}

// bitsOf is a matrix of integers.
func bitsOf(ne0, ne1 int, v []int32) *matrix {
	m := newMatrix(ne0, ne1)
	for i, x := range v {
		m.v[i] = math.Float32frombits(uint32(x))
	}
	return m
}

// TestTopK: the largest first, of equal ones the first; k different ones whatever the numbers.
func TestTopK(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(31, 32))
		for _, s := range [][3]int{{1, 1, 3}, {5, 2, 7}, {128, 8, 9}, {4, 4, 5}, {512, 10, 2}, {6, 2, 0}} {
			experts, k, tokens := s[0], s[1], s[2]
			x := fill(r, newStrided(experts, tokens, experts+1))
			for i := range x.v[:max(0, tokens)] { // ties
				x.v[i*x.stride+experts-1] = x.v[i*x.stride]
			}
			var want []int32
			for i := range tokens {
				order := make([]int32, experts)
				for e := range order {
					order[e] = int32(e)
				}
				sort.SliceStable(order, func(a, b int) bool { return x.row(i)[order[a]] > x.row(i)[order[b]] })
				want = append(want, order[:k]...)
			}
			got := runThreads(t, fmt.Sprint(s), []*matrix{newMatrix(k, tokens)}, func(o []*matrix) *Call {
				call := OpTopK.Call(None{}, whole(o[0]), x.arg())
				return &call
			})
			sameBits(t, fmt.Sprint(s), got[0], bitsOf(k, tokens, want))
		}
		odd := newMatrix(4, 1)
		none := float32(math.NaN())
		copy(odd.row(0), []float32{none, float32(math.Inf(-1)), none, none})
		out, got := make([]int32, 4), newMatrix(4, 1)
		call := OpTopK.Call(None{}, whole(got), odd.arg())
		if err := runCall(&call, 1); err != nil {
			t.Fatal(err)
		}
		for i, v := range got.row(0) {
			out[i] = int32(math.Float32bits(v))
		}
		if slices.Sort(out); !slices.Equal(out, []int32{0, 1, 2, 3}) {
			t.Errorf("of numbers that are none, %v were chosen", out)
		}
	})
}

func TestGroup(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(33, 34))
		for _, s := range [][3]int{{1, 1, 3}, {5, 2, 7}, {128, 8, 40}, {4, 4, 5}, {6, 2, 0}} {
			g := newRouting(r, s[0], s[1], s[2])
			rows := len(g.from)
			outs := []*matrix{newMatrix(g.k, g.tokens), newMatrix(rows, 1), newMatrix(s[0]+1, 1)}
			got := runThreads(t, fmt.Sprint(s), outs, func(o []*matrix) *Call {
				call := OpGroup.Call(None{}, whole(o[0]), whole(o[1]), whole(o[2]), g.choices(g.chosen))
				return &call
			})
			for i, want := range []*matrix{bitsOf(g.k, g.tokens, g.at), bitsOf(rows, 1, g.from),
				bitsOf(s[0]+1, 1, g.starts)} {
				sameBits(t, fmt.Sprint(s), got[i], want)
			}
		}
	})
}

// refGating are the weights of the chosen.
func refGating(g *routing, q GatingConstants) func(in []mat) mat {
	return func(in []mat) mat {
		x, w := in[0], newMat(g.k, g.tokens)
		for t := range g.tokens {
			own := g.chosen[t*g.k:][:g.k]
			p, all, sum := make([]float64, g.experts), 0.0, 0.0
			for e, v := range x.row(t) {
				switch {
				case q.Kind == GateSigmoid:
					p[e] = 1 / (1 + math.Exp(-v))
				case q.Kind == GateSoftmax || slices.Contains(own, int32(e)):
					p[e] = math.Exp(v)
				}
				all += p[e]
			}
			if q.Kind == GateSigmoid {
				all = 1
			}
			for _, e := range own {
				sum += p[e] / all
			}
			if !q.Norm {
				sum = 1
			}
			for j, e := range own {
				w.row(t)[j] = q.Scale * p[e] / all / max(sum, math.Ldexp(1, -14))
			}
		}
		return w
	}
}

func TestGating(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(35, 36))
		for _, kind := range []int64{GateSoftmax, GateSoftmaxChosen, GateSigmoid} {
			for _, norm := range []bool{false, true} {
				for _, s := range [][3]int{{1, 1, 3}, {5, 2, 7}, {128, 8, 4}, {4, 4, 5}} {
					q := GatingConstants{Scale: 1.75, Kind: kind, Norm: norm}
					what := fmt.Sprintf("%+v %v", q, s)
					g := newRouting(r, s[0], s[1], s[2])
					x, dw := fill(r, newStrided(s[0], s[2], s[0]+1)), fill(r, newStrided(s[1], s[2], s[1]+1))
					for e := range x.row(1) { // so far down that the sum of sigmoids meets its bound
						x.row(1)[e] -= 20
					}
					in := []mat{toMat(x)}
					w := runThreads(t, what, []*matrix{newMatrix(s[1], s[2])}, func(o []*matrix) *Call {
						call := OpGating.Call(q, o[0].arg(), x.arg(), g.choices(g.chosen))
						return &call
					})[0]
					if d, at := farthest(w, refGating(g, q)(in)); d > rowTolerance {
						t.Errorf("%s: differs by %.1e at %s", what, d, at)
					}
					dx := runThreads(t, what, []*matrix{newMatrix(s[0], s[2])}, func(o []*matrix) *Call {
						call := OpGatingBack.Call(q, o[0].arg(), x.arg(), g.choices(g.chosen), dw.arg())
						return &call
					})[0]
					if d, at := farthest(dx, differences(refGating(g, q), in, toMat(dw), 0)); d > rowTolerance {
						t.Errorf("%s: differs from central differences by %.1e at %s", what, d, at)
					}
				}
			}
		}
	})
}

func TestRouteRefuses(t *testing.T) {
	x := newMatrix(600, 2)
	for name, call := range map[string]Call{
		"more experts than there can be": OpTopK.Call(None{}, table(make([]int32, 4), 2, 2), x.arg()),
		"more chosen than there are": OpTopK.Call(None{}, table(make([]int32, 8), 4, 2),
			newMatrix(3, 2).arg()),
		"none chosen": OpTopK.Call(None{}, table(nil, 0, 2), newMatrix(3, 2).arg()),
		"another kind": OpGating.Call(GatingConstants{Scale: 1, Kind: 3}, newMatrix(2, 2).arg(), newMatrix(3, 2).arg(),
			table(make([]int32, 4), 2, 2)),
		"no scale": OpGating.Call(GatingConstants{Scale: math.NaN()}, newMatrix(2, 2).arg(), newMatrix(3, 2).arg(),
			table(make([]int32, 4), 2, 2)),
	} {
		if Check(&call) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
