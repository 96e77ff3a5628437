package kernels

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"
)

// runsOf gives a call the ends of its runs.
func runsOf(c *Call, ends []int32) *Call {
	c.NArgs, c.A[2] = 3, Matrix(unsafe.Pointer(&ends[0]), I32, int64(len(ends)), 1, int64(4*len(ends)))
	return c
}

// TestMean: means of runs of rows are those of plain loops, and each row of a run gets its share back, whatever the
// threads; what lies behind the last run takes no part.
func TestMean(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		for _, s := range []struct {
			n, rows int
			ends    []int32
		}{{1, 1, []int32{1}}, {3, 5, []int32{1, 5}}, {67, 9, []int32{0, 4, 4, 8}}, {200, 33, []int32{33}}} {
			rnd := rand.New(rand.NewPCG(1, uint64(s.n)))
			x := fill(rnd, newStrided(s.n, s.rows, s.n+2))
			dy := fill(rnd, newStrided(s.n, len(s.ends), s.n+1))
			y := runThreads(t, "mean", []*matrix{newMatrix(s.n, len(s.ends))},
				func(o []*matrix) *Call { return runsOf(callOf(OpMean, None{}, o[0], x), s.ends) })[0]
			dx := runThreads(t, "mean back", []*matrix{newMatrix(s.n, s.rows)},
				func(o []*matrix) *Call { return runsOf(callOf(OpMeanBack, None{}, o[0], dy), s.ends) })[0]
			want, wantBack, r := newMat(s.n, len(s.ends)), newMat(s.n, s.rows), 0
			for i, end := range s.ends {
				rows := float64(int(end) - r)
				for ; r < int(end); r++ {
					for k := range s.n {
						want.row(i)[k] += float64(x.row(r)[k]) / rows
						wantBack.row(r)[k] = float64(dy.row(i)[k]) / rows
					}
				}
			}
			if e, at := farthest(y, want); e > rowTolerance {
				t.Errorf("%+v: a mean differs by %.1e at %s", s, e, at)
			}
			if e, at := farthest(dx, wantBack); e > rowTolerance {
				t.Errorf("%+v: a share differs by %.1e at %s", s, e, at)
			}
		}
	})
	x := newMatrix(4, 6)
	for _, ends := range [][]int32{{3, 2}, {2, 7}, {-1, 6}} {
		for _, c := range []*Call{callOf(OpMean, None{}, newMatrix(4, 2), x), callOf(OpMeanBack, None{}, x,
			newMatrix(4, 2))} {
			if err := runCall(runsOf(c, ends), 1); err == nil || !strings.Contains(err.Error(), "ascending") {
				t.Errorf("ends %v: %v", ends, err)
			}
		}
	}
}
