package kernels

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"
)

// branches lists, for every token of a tree, the token itself, the one before it in its branch, and so on.
func branches(segs []treeSeg) (out [][]int) {
	for _, s := range segs {
		var before []int
		for p := s.parent; p >= 0; p = segs[p].parent {
			for t := segs[p].end - 1; t >= segs[p].start; t-- {
				before = append(before, t)
			}
		}
		for t := s.start; t < s.end; t++ {
			before = append([]int{t}, before...)
			out = append(out, before)
		}
	}
	return out
}

// A convCase is a convolution of random numbers.
type convCase struct {
	segs     []treeSeg
	x, w, dy *matrix
}

func newConv(r *rand.Rand, n, taps int, segs []treeSeg) *convCase {
	tokens := treeTokens(segs)
	return &convCase{segs, fill(r, newStrided(n, tokens, n+3)), fill(r, newStrided(taps, n, taps+1)),
		fill(r, newStrided(n, tokens, n+1))}
}

// each calls f with every token, the one that a tap meets there, and the tap.
func (c *convCase) each(f func(t, u, tap int)) {
	for t, branch := range branches(c.segs) {
		for j, u := range branch[:min(c.w.ne0, len(branch))] {
			f(t, u, c.w.ne0-1-j)
		}
	}
}

// treed makes a call whose last argument is the tree.
func (c *convCase) treed(k Kernel[None], args ...*matrix) *Call {
	call := callOf(k, None{}, args...)
	call.A[call.NArgs] = treeArg(c.segs)
	call.NArgs++
	return call
}

// test holds a convolution and its derivatives to plain loops.
func (c *convCase) test(t *testing.T, r *rand.Rand) {
	t.Helper()
	n, taps, tokens := c.x.ne0, c.w.ne0, c.x.ne1
	x, w, dy, had := toMat(c.x), toMat(c.w), toMat(c.dy), fill(r, newStrided(taps, n, taps+2))
	y, dx, dw := newMat(n, tokens), newMat(n, tokens), toMat(had)
	c.each(func(at, from, tap int) {
		for i := range n {
			y.row(at)[i] += w.row(i)[tap] * x.row(from)[i]
			dx.row(from)[i] += w.row(i)[tap] * dy.row(at)[i]
			dw.row(i)[tap] += x.row(from)[i] * dy.row(at)[i]
		}
	})
	for _, k := range []struct {
		what string
		out  *matrix
		want mat
		call func(o []*matrix) *Call
	}{
		{"conv", newStrided(n, tokens, n+2), y, func(o []*matrix) *Call { return c.treed(OpConv, o[0], c.x, c.w) }},
		{"conv back", newStrided(n, tokens, n+2), dx,
			func(o []*matrix) *Call { return c.treed(OpConvBack, o[0], c.w, c.dy) }},
		{"conv grad", had, dw, func(o []*matrix) *Call { return c.treed(OpConvGrad, o[0], c.x, c.dy) }},
	} {
		got := runThreads(t, k.what, []*matrix{k.out}, k.call)[0]
		if e, at := farthest(got, k.want); e > rowTolerance {
			t.Errorf("%s of [%d,%d], %d taps: differs by %.1e at %s", k.what, n, tokens, taps, e, at)
		}
	}
}

// TestConv: convolutions along the branches of trees, at every level and for any threads, are those of plain loops.
func TestConv(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 3))
		newConv(r, 3, 3, nil).test(t, r)
		newConv(r, 70, 3, treeOf(50, -1, 1, 0, 40, 0, 0, 1, 7, 3, 33, -1)).test(t, r)
		newConv(r, 531, 4, treeOf(5, -1, 2, 0)).test(t, r)
		for range 40 {
			newConv(r, 1+r.IntN(70), 1+r.IntN(MostTaps), randomTree(r, 8, 12)).test(t, r)
		}
	})
}

// runsArg is the table of OpConvNext as an argument; the call borrows it.
func runsArg(table []int32) Arg {
	return Matrix(unsafe.Pointer(&table[0]), I32, int64(len(table)), 1, int64(4*len(table)))
}

// next computes a tree's convolution piece by piece, each of them twice, and holds it to the bits of the whole's.
func (c *convCase) next(t *testing.T, r *rand.Rand, most int) {
	t.Helper()
	n, taps := c.x.ne0, c.w.ne0
	whole := newMatrix(n, c.x.ne1)
	if err := runCall(c.treed(OpConv, whole, c.x, c.w), 1); err != nil {
		t.Fatal(err)
	}
	kept := randomMatrix(r, (taps-1)*n, 2*len(c.segs)) // what earlier texts left
	at := make([]int, len(c.segs))                     // of each segment: the slot that it goes on behind
	for s := range at {
		at[s] = -1
	}
	for _, call := range pieces(r, c.segs, most) {
		x, want, table, next := newMatrix(n, len(call)), newMatrix(n, len(call)), []int32{0}, append([]int{}, at...)
		for i, tok := range call {
			s := tok[0]
			copy(x.row(i), c.x.row(c.segs[s].start+tok[1]))
			copy(want.row(i), whole.row(c.segs[s].start+tok[1]))
			if i == 0 || call[i-1][0] != s {
				from := at[s]
				for up := s; from < 0 && up >= 0; up = c.segs[up].parent {
					from = at[up]
				}
				next[s] = 2 * s
				if at[s] == next[s] {
					next[s]++
				}
				table = append(table, 0, int32(from), int32(next[s]))
				table[0]++
			}
			table[len(table)-3]++
		}
		table = append(table, 9, 9) // more room than it takes
		for range 2 {
			y := runThreads(t, "conv next", []*matrix{newMatrix(n, len(call)), kept}, func(o []*matrix) *Call {
				k := callOf(OpConvNext, None{}, o[0], x, c.w, o[1])
				k.NArgs, k.A[4] = 5, runsArg(table)
				return k
			})
			sameBits(t, "a text piece by piece", y[0], want)
			kept = y[1]
		}
		at = next
	}
}

// TestConvNext: a convolution that is given a tree piece by piece, down to one token, gives the bits of that which is
// given the whole; a piece may be given again.
func TestConvNext(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(4, 4))
		for _, most := range []int{1, 2, 30} {
			newConv(r, 37, 3, treeOf(20, -1, 1, 0, 6, 0, 0, 0, 7, 3, 9, -1)).next(t, r, most)
			newConv(r, 531, 5, treeOf(3, -1, 4, 0)).next(t, r, most)
		}
		for range 20 {
			newConv(r, 1+r.IntN(40), 2+r.IntN(MostTaps-1), randomTree(r, 8, 12)).next(t, r, 1+r.IntN(9))
		}
	})
}

func TestConvRefuses(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for want, change := range map[string]func(c *convCase) *Call{
		"do not cover the tokens": func(c *convCase) *Call { c.segs = treeOf(4, -1); return nil },
		"within 1 and 16":         func(c *convCase) *Call { c.w = newMatrix(17, 6); return nil },
		"[taps, channels]":        func(c *convCase) *Call { c.w = newMatrix(3, 7); return nil },
		"overlaps an input":       func(c *convCase) *Call { return c.treed(OpConv, c.x, c.x, c.w) },
		"of one shape":            func(c *convCase) *Call { return c.treed(OpConvGrad, c.w, c.x, newMatrix(6, 4)) },
		"gradients are not of":    func(c *convCase) *Call { return c.treed(OpConvBack, newMatrix(6, 4), c.w, c.dy) },
	} {
		c := newConv(r, 6, 3, treeOf(5, -1))
		call := change(c)
		if call == nil {
			call = c.treed(OpConv, newMatrix(6, 5), c.x, c.w)
		}
		if err := Check(call); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error: got %v, want one that says %q", err, want)
		}
	}
	for want, table := range map[string][]int32{
		"":                      {2, 3, 1, 0, 2, -1, 2},
		"cut short":             {2, 3, 1, 0, 2, -1},
		"do not have all rows":  {1, 4, 1, 0},
		"have all rows":         {2, 3, 1, 0, 3, -1, 2},
		"a slot is not there":   {2, 3, 1, 0, 2, -1, 4},
		"slot is not there":     {2, 3, 4, 0, 2, -1, 2},
		"is read and written":   {2, 3, 1, 0, 2, 2, 1},
		"a slot is written twi": {2, 3, 1, 0, 2, 1, 0},
	} {
		c := newConv(r, 6, 3, treeOf(5, -1))
		call := callOf(OpConvNext, None{}, newMatrix(6, 5), c.x, c.w, newMatrix(12, 4))
		call.NArgs, call.A[4] = 5, runsArg(table)
		err := Check(call)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("table %v: got %v, want %q", table, err, want)
		}
	}
}
