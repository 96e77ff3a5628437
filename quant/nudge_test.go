package quant

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/gguf"
)

// someBlocks quantizes normal numbers.
func someBlocks(t *testing.T, typ gguf.Type, n int) (data []byte, x []float32) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, uint64(typ)))
	x = make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	data, err := ggml.Quantize(ggml.Type(typ), x, int64(n))
	if err != nil {
		t.Fatal(err)
	}
	if err := ggml.DequantizeTo(ggml.Type(typ), x, data); err != nil {
		t.Fatal(err)
	}
	return data, x
}

// TestOnGrid, for every type that has a grid: values that lie on it stay, byte for byte; others go to one of the two
// points next to them, by chances whose mean is the value; and nothing but integers changes.
func TestOnGrid(t *testing.T) {
	const n, draws = 1024, 400
	for typ := range grids {
		data, x := someBlocks(t, typ, n)
		at := bytes.Clone(data)
		if err := onGrid(typ, at, x, func(int) float64 { return 0.5 }); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(at, data) {
			t.Errorf("%s: values on the grid do not stay", typ)
			continue
		}
		// Each element's step, from the blocks with all integers 1 more or less than they are.
		up, g := bytes.Clone(data), grids[typ]
		low, _ := g.limits()
		step := make([]float64, n)
		for _, q := range []int{low, low + 1} {
			for k := range n {
				g.set(up[k/typ.BlockSize()*typ.BlockBytes():], k%typ.BlockSize(), q)
			}
			y, err := ggml.Dequantize(ggml.Type(typ), up, n)
			if err != nil {
				t.Fatal(err)
			}
			for k := range y {
				step[k] = float64(y[k]) - step[k]
			}
		}
		r := rand.New(rand.NewPCG(2, 3))
		want, sum := make([]float32, n), make([]float64, n)
		for k := range want {
			want[k] = float32(float64(x[k]) + (0.05+0.4*r.Float64())*step[k])
		}
		// An element at the grid's end cannot go further.
		if err := onGrid(typ, at, want, func(int) float64 { return 0 }); err != nil {
			t.Fatal(err)
		}
		moved, err := ggml.Dequantize(ggml.Type(typ), at, n)
		if err != nil {
			t.Fatal(err)
		}
		off := 0
		for range draws {
			at := bytes.Clone(data)
			if err := onGrid(typ, at, want, func(int) float64 { return r.Float64() }); err != nil {
				t.Fatal(err)
			}
			y, err := ggml.Dequantize(ggml.Type(typ), at, n)
			if err != nil {
				t.Fatal(err)
			}
			for k := range y {
				sum[k] += float64(y[k]) / draws
				if math.Abs(float64(y[k]-want[k])) > math.Abs(step[k])*1.0001 {
					off++
				}
			}
		}
		free := 0
		for k := range sum {
			if moved[k] == x[k] {
				continue
			}
			free++
			if e := math.Abs(sum[k] - float64(want[k])); e > 5*math.Abs(step[k])/(2*math.Sqrt(draws)) {
				t.Errorf("%s: element %d is %g on average, want %g", typ, k, sum[k], want[k])
			}
		}
		if off != 0 || free < n/2 {
			t.Errorf("%s: %d of %d values further than a step from what was wanted; %d of %d free to move", typ, off,
				n*draws, free, n)
		}
		// Nothing but integers: with all of them the same, the blocks are what they were.
		for k := range n {
			g.set(at[k/typ.BlockSize()*typ.BlockBytes():], k%typ.BlockSize(), low)
			g.set(data[k/typ.BlockSize()*typ.BlockBytes():], k%typ.BlockSize(), low)
		}
		if !bytes.Equal(at, data) {
			t.Errorf("%s: more than integers changed", typ)
		}
	}
}

// TestOnGridEnds: what lies beyond the grid goes to its end.
func TestOnGridEnds(t *testing.T) {
	for typ := range grids {
		data, x := someBlocks(t, typ, 256)
		far := make([]float32, len(x))
		for k := range far {
			far[k] = 1e30
		}
		if err := onGrid(typ, data, far, func(int) float64 { return 0 }); err != nil {
			t.Fatal(err)
		}
		y, err := ggml.Dequantize(ggml.Type(typ), data, 256)
		if err != nil {
			t.Fatal(err)
		}
		for k := range y {
			if y[k] < x[k] {
				t.Fatalf("%s: element %d went from %g to %g, towards 1e30", typ, k, x[k], y[k])
			}
		}
	}
}

// TestHasGrid: float types and those with tables of values have none.
func TestHasGrid(t *testing.T) {
	for typ, want := range map[gguf.Type]bool{gguf.F32: false, gguf.F16: false, gguf.IQ4_NL: false, gguf.MXFP4: false,
		gguf.TQ1_0: false, gguf.Q8_0: true, gguf.Q6_K: true} {
		if HasGrid(typ) != want {
			t.Errorf("%s: %v", typ, !want)
		}
	}
}

// TestCost: what lies along the change weighs more, in either sense; what lies across it counts once.
func TestCost(t *testing.T) {
	base, wanted := []float32{1, 2, 3}, []float32{2, 2, 5}
	for _, c := range []struct {
		got  []float32
		want float64
	}{{wanted, 0}, {base, 50}, {[]float32{3, 2, 7}, 50}, {[]float32{2, 5, 5}, 9}, {[]float32{1.5, 9, 4}, 49 + 12.5}} {
		if s := cost(base, wanted, c.got, 10); math.Abs(s-c.want) > 1e-9 {
			t.Errorf("%v: %g, want %g", c.got, s, c.want)
		}
	}
	if s := cost(base, base, wanted, 10); s != 5 {
		t.Errorf("no change: %g", s)
	}
}
