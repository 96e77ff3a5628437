package optim

import (
	"math"
	"slices"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
)

// newHalf is a parameter of BF16, all of them x.
func newHalf(t *testing.T, b backend.Backend, name string, x float32, shape ...int64) param {
	t.Helper()
	p := newParam(t, b, name, "full", int((&engine.Param{Shape: shape}).Len()))
	p.Shape = shape
	var err error
	if p.Value, err = backend.NewFloatsOf(b, p.Len(), graph.BF16); err != nil {
		t.Fatal(err)
	}
	if err := p.Value.Upload(slices.Repeat([]float32{x}, int(p.Len())), 0); err != nil {
		t.Fatal(err)
	}
	p.value = nil
	return p
}

func valuesOf(t *testing.T, p param) []float32 {
	t.Helper()
	all, err := p.Value.All()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// halves are a matrix and a smaller one, whose updates have whole rows and a rest.
func halves(t *testing.T, b backend.Backend) params {
	return params{newHalf(t, b, "large", 0.5, 67, 130), newHalf(t, b, "small", -0.25, 9, 5)}
}

// TestMasterIsExact: BF16 parameters become the same bits with any number of threads, and of an optimizer that another
// one's state was given to; with another seed they become others.
func TestMasterIsExact(t *testing.T) {
	eachOptimizer(t, func(t *testing.T, o *Optimizer) {
		update := func(a *Running, p params, k int) {
			for _, x := range p {
				for i := range x.grad {
					x.grad[i] = value(x.Name, i+1000*k, 2)
				}
			}
			mustUpdate(t, a, 1e-3, 1)
		}
		run := func(threads int, seed uint64, resumed bool) (out []float32) {
			p := halves(t, newBackend(t, threads))
			a := mustStartOf(t, o, p, nil, Options{Seed: seed})
			update(a, p, 1)
			update(a, p, 2)
			if resumed {
				other := mustStartOf(t, o, p, nil, Options{Seed: seed})
				to := other.State()
				for i, s := range a.State() {
					piece := make([]byte, s.N/int64(s.Type.BlockSize())*int64(s.Type.BlockBytes()))
					if s.Memory.Read(piece, 0) != nil || to[i].Memory.Write(piece, 0) != nil {
						t.Fatal("the state is not copied")
					}
				}
				other.SetUpdates(2)
				a = other
			}
			update(a, p, 3)
			for _, x := range p {
				out = append(out, valuesOf(t, x)...)
			}
			return out
		}
		want := run(1, 7, false)
		if !slices.Equal(run(3, 7, false), want) {
			t.Error("three threads make other numbers than one")
		}
		if !slices.Equal(run(1, 7, true), want) {
			t.Error("restored, it goes on otherwise")
		}
		if slices.Equal(run(1, 8, false), want) {
			t.Error("another seed changes nothing")
		}
	})
}

// TestMasterIsUnbiased: updates of a fortieth of a unit in the last place move BF16 parameters as far as F32 ones, in
// the mean; rounded to the nearest they would not move at all.
func TestMasterIsUnbiased(t *testing.T) {
	const updates, side = 100, 64
	// A number is rounded up or down 100 times, by 2^-8 with a chance of 1 in 40: 0.006 off at most times, and the mean
	// of 4096 of them 1e-4.
	const tol = 5e-4
	rates := map[string]float64{Muon.Name: 5e-3} // whose steps of a matrix of rank 1 are short
	eachOptimizer(t, func(t *testing.T, o *Optimizer) {
		lr, b := rates[o.Name], newBackend(t, 1)
		if lr == 0 {
			lr = 1e-4
		}
		half, wide, nearest := newHalf(t, b, "p", 1, side, side), newParam(t, b, "p", "full", side*side),
			newParam(t, b, "p", "full", side*side)
		rounded := newHalf(t, b, "p", 1, side, side).Value // what plain rounding makes of nearest
		var a [3]*Running
		for i, p := range []*param{&half, &wide, &nearest} {
			p.Shape = []int64{side, side}
			for k := range p.grad {
				p.grad[k] = 1
			}
			if p.value != nil {
				copy(p.value, slices.Repeat([]float32{1}, len(p.value)))
			}
			a[i] = mustStartOf(t, o, params{*p}, nil, Options{Seed: 3})
		}
		for range updates {
			for _, a := range a {
				mustUpdate(t, a, lr, 1)
			}
			if rounded.Upload(nearest.value, 0) != nil || rounded.Download(nearest.value, 0) != nil {
				t.Fatal("no rounding")
			}
		}
		got, want := mean(valuesOf(t, half)), mean(wide.value)
		if math.Abs(got-want) > tol || 1-want < 10*tol {
			t.Errorf("the mean is %.5f, of F32 parameters %.5f", got, want)
		}
		if moved := mean(nearest.value); moved != 1 {
			t.Errorf("rounded to the nearest they move too, to %.5f: the test shows nothing", moved)
		}
	})
}

// TestHalfNumbers: what is brought to BF16 numbers is rounded to the nearest, of two as near to the even one.
func TestHalfNumbers(t *testing.T) {
	p := newHalf(t, newBackend(t, 1), "p", 0, 300, 301) // several pieces, and a rest
	all := make([]float32, p.Len())
	for i := range all {
		all[i] = value("x", i, 0)
	}
	// A unit in the last place is 2^-7 from 1 on.
	ties := []float32{1 + 0x1p-8, 1 + 3*0x1p-8, 1 + 0x1.1p-8, -1 - 0x1p-8, float32(math.Inf(1)), math.MaxFloat32}
	want := []float32{1, 1 + 0x1p-6, 1 + 0x1p-7, -1, float32(math.Inf(1)), float32(math.Inf(1))}
	copy(all, ties)
	all[len(ties)] = math.Float32frombits(0x7f800001) // no number, and none of it in the upper half
	if err := p.Value.Upload(all, 0); err != nil {
		t.Fatal(err)
	}
	got := valuesOf(t, p)
	if !slices.Equal(got[:len(want)], want) || got[len(want)] == got[len(want)] {
		t.Errorf("got %v, want %v and no number", got[:len(want)+1], want)
	}
	for i, x := range all[len(want)+1:] {
		if g := got[len(want)+1+i]; math.Abs(float64(g-x)) > 0x1p-8*math.Abs(float64(x)) {
			t.Fatalf("number %d: %v is kept as %v", i, x, g)
		}
	}
	if err := p.Value.Download(all[:2], p.Len()-1); err == nil {
		t.Error("numbers behind the last are read")
	}
}

func mean(x []float32) (m float64) {
	for _, v := range x {
		m += float64(v)
	}
	return m / float64(len(x))
}
