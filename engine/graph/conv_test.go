package graph

import (
	"strings"
	"testing"
)

// before is the token that precedes t in its branch under the tree {n, (start, end, parent)…}, or -1.
func before(tree []float64, t int) int {
	s := 0
	for t >= int(tree[2+3*s]) {
		s++
	}
	if t > int(tree[1+3*s]) {
		return t - 1
	}
	for s = int(tree[3+3*s]); s >= 0; s = int(tree[3+3*s]) {
		if tree[2+3*s] > tree[1+3*s] {
			return int(tree[2+3*s]) - 1
		}
	}
	return -1
}

// convolve calls f with every number that a tap meets: the output's place, the input's and the tap's.
func convolve(tree []float64, n, tokens, taps int, f func(y, x, w int)) {
	for t := range tokens {
		for j, u := taps-1, t; j >= 0 && u >= 0; j, u = j-1, before(tree, u) {
			for c := range n {
				f(t*n+c, u*n+c, c*taps+j)
			}
		}
	}
}

var _ = meaning(Conv, func(e *evaluator) {
	n, tokens := e.dims(0)
	taps, _ := e.dims(1)
	convolve(e.in(2), n, tokens, taps, func(y, x, w int) { e.out(0)[y] += e.in(1)[w] * e.in(0)[x] })
})

var _ = meaning(ConvBack, func(e *evaluator) {
	taps, _ := e.dims(0)
	n, tokens := e.dims(1)
	convolve(e.in(2), n, tokens, taps, func(y, x, w int) { e.out(0)[x] += e.in(0)[w] * e.in(1)[y] })
})

var _ = meaning(ConvGrad, func(e *evaluator) {
	n, tokens := e.dims(0)
	convolve(e.in(2), n, tokens, len(e.out(0))/n, func(y, x, w int) { e.out(0)[w] += e.in(0)[x] * e.in(1)[y] })
})

func conv(g *Graph, taps int64) ID {
	return g.Conv(x(g, 3, 6), param(g, "taps", taps, 3), bound(g, "tree", I32, 1, 10))
}

var (
	_ = differences("conv over branches", func(g *Graph) ID { return conv(g, 3) })
	_ = differences("conv longer than a branch", func(g *Graph) ID { return g.GELU(conv(g, 5)) })
	_ = differences("conv of frozen taps", func(g *Graph) ID {
		return g.Conv(x(g, 4, 6), weight(g, 2, 4), bound(g, "tree", I32, 1, 10))
	})
)

func TestConvRefuses(t *testing.T) {
	tree := func(g *Graph) ID { return bound(g, "tree", I32, 1, 10) }
	next := func(g *Graph, w ID, kept int64) {
		g.ConvNext(x(g, 3, 6), w, g.Bound(Value{Name: "kept", Kind: State, Shape: Matrix(kept, 4), Ref: None}), tree(g))
	}
	for want, build := range map[string]func(g *Graph){
		"0 taps, want 1 to 16":  func(g *Graph) { conv(g, 0) },
		"17 taps":               func(g *Graph) { conv(g, 17) },
		"taps of 4 channels":    func(g *Graph) { g.Conv(x(g, 3, 6), weight(g, 2, 4), tree(g)) },
		"taps of type 30":       func(g *Graph) { g.Conv(x(g, 3, 6), bound(g, "w", BF16, 2, 3), tree(g)) },
		"one tap looks at":      func(g *Graph) { next(g, weight(g, 1, 3), 0) },
		"keeps [5 4] of type 0": func(g *Graph) { next(g, weight(g, 3, 3), 5) },
	} {
		g := &Graph{}
		if build(g); g.Err() == nil || !strings.Contains(g.Err().Error(), want) {
			t.Errorf("error: got %v, want one that says %q", g.Err(), want)
		}
	}
}
