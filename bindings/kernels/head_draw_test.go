package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

func (d *head) drawCall(k HeadDrawConstants, u []float64, out, scratch *matrix) Call {
	c := OpHeadDraw.Call(k, out.arg(), d.h.arg(), d.w.arg(), Arg{}, Arg{}, scratch.arg(),
		Matrix(unsafe.Pointer(&u[0]), F64, int64(len(u)), 1, int64(8*len(u))))
	if d.w2 != nil {
		c.A[3], c.A[4] = d.h2.arg(), d.w2.arg()
	}
	return c
}

// draw gives for each token the row drawn, its log-probability, and the entropy.
func (d *head) draw(t *testing.T, exact, greedy bool, u []float64, nth int) *matrix {
	t.Helper()
	rank := 0
	if d.w2 != nil {
		rank = d.w2.ne0
	}
	out := newMatrix(3*d.h.ne1, 1)
	scratch := newMatrix(int(HeadDrawScratchBytes(int64(d.w.ne0), int64(rank), int64(d.w.ne1), int64(d.h.ne1)))/4, 1)
	c := d.drawCall(HeadDrawConstants{Exact: exact, Greedy: greedy, Scale: d.scale}, u, out, scratch)
	for _, op := range []Op{OpHeadDraw.Op, OpHeadDrawMerge.Op} {
		c.Op = op
		if err := runCall(&c, nth); err != nil {
			t.Fatal(err)
		}
	}
	out.checkGuards(t)
	scratch.checkGuards(t)
	return out
}

// TestHeadDraw: a token drawn is that at which the cumulated probability passes the number given; its log-probability
// and the entropy have the bits that the head gives them, asked for together or not.
func TestHeadDraw(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(31, 32))
		for _, c := range []struct {
			typ           Type
			k, v, c, rank int
			spread        float64
			exact         bool
		}{
			{F32, 5, 1, 2, 0, 1, true}, {F32, 17, 7, 30, 0, 2, true}, {q8, 64, 5000, 40, 3, 4, true},
			{q8, 64, 5000, 40, 3, 4, false}, {q4, 64, 3001, 256, 0, 1, false}, {F32, 33, 777, 9, 0, 40, false},
		} {
			d := newHead(r, c.typ, c.k, c.v, c.c, c.rank, c.spread)
			d.scale = 0.75
			u := make([]float64, c.c)
			for i := range u {
				u[i] = r.Float64()
			}
			u[0] = 0
			what := fmt.Sprintf("%+v", c)
			got := d.draw(t, c.exact, false, u, 1)
			for _, nth := range []int{2, 5} {
				sameBits(t, what, d.draw(t, c.exact, false, u, nth), got)
			}
			_, _, softmax := d.reference()
			tol := tolerance(!c.exact, headTolExact, headTolInt16, headTolBF16)
			for i, p := range softmax {
				row := int(got.v[3*i])
				d.targets[i] = int32(row)
				below := 0.0
				for v := range row {
					below += p[v]
				}
				if u[i] < below-tol || u[i] > below+p[row]+tol {
					t.Errorf("%s: %g drew row %d, which has %g to %g", what, u[i], row, below, below+p[row])
				}
			}
			largest := d.draw(t, c.exact, true, u, 3)
			for i := range c.c {
				if most := d.top(t, c.exact, 1, 1).v[2*i]; largest.v[3*i] != most || largest.v[3*i+1] != 0 {
					t.Errorf("%s: the likeliest of token %d is %v with %v, want %v with 0", what, i, largest.v[3*i],
						largest.v[3*i+1], most)
				}
			}
			for _, d.entropy = range []bool{true, false} {
				o := d.run(t, c.exact, false, 1)
				for i := range c.c {
					if math.Float32bits(o.logp.v[i]) != math.Float32bits(got.v[3*i+1]) {
						t.Fatalf("%s: token %d is drawn with %v, and the head gives it %v", what, i, got.v[3*i+1],
							o.logp.v[i])
					}
					if d.entropy && math.Float32bits(o.entropy.v[i]) != math.Float32bits(got.v[3*i+2]) {
						t.Fatalf("%s: entropy %v, the head's %v", what, got.v[3*i+2], o.entropy.v[i])
					}
				}
			}
		}
	})
}

// TestHeadDrawEdge: a number so close to 1 that rounding leaves no row behind it draws one all the same, which may be
// drawn.
func TestHeadDrawEdge(t *testing.T) {
	r := rand.New(rand.NewPCG(37, 38))
	for _, v := range []int{1, 40, 3001} {
		d := newHead(r, F32, 8, v, 20, 0, 1)
		u := make([]float64, 20)
		for i := range u {
			u[i] = 1 - 0x1p-53
		}
		_, _, softmax := d.reference()
		for i, p := range softmax {
			if row := int(d.draw(t, true, false, u, 2).v[3*i]); row < 0 || row >= v || !(p[row] > 0) {
				t.Errorf("of %d rows, row %d was drawn", v, row)
			}
		}
	}
}

// TestHeadDrawNoNumber: logits that are no numbers draw none.
func TestHeadDrawNoNumber(t *testing.T) {
	d := newHead(rand.New(rand.NewPCG(33, 34)), F32, 8, 900, 2, 0, 1)
	d.h.row(1)[3] = float32(math.NaN())
	for _, greedy := range []bool{false, true} {
		got := d.draw(t, true, greedy, []float64{0.5, 0.5}, 2)
		if got.v[0] != got.v[0] || got.v[3] == got.v[3] || got.v[4] == got.v[4] {
			t.Errorf("greedy %t: got %v, want numbers for the first token alone", greedy, got.v)
		}
	}
}

func TestHeadDrawRefuses(t *testing.T) {
	d := newHead(rand.New(rand.NewPCG(35, 36)), q8, 32, 64, 3, 2, 1)
	out, scratch := newMatrix(3*3, 1), newMatrix(int(HeadDrawScratchBytes(32, 2, 64, 3))/4, 1)
	good := d.drawCall(HeadDrawConstants{Scale: 1}, make([]float64, 3), out, scratch)
	if err := Check(&good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(c *Call){
		"scratch too small":       func(c *Call) { c.A[5].Ne0-- },
		"numbers short":           func(c *Call) { c.A[6].Ne0-- },
		"numbers of another type": func(c *Call) { c.A[6].Type = F32 },
		"output short":            func(c *Call) { c.A[0].Ne0-- },
		"half a second pair":      func(c *Call) { c.A[3].Data = nil },
		"the output is the input": func(c *Call) { c.A[0].Data = c.A[1].Data },
	} {
		c := good
		spoil(&c)
		if err := Check(&c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
