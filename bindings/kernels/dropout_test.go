package kernels

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// philox is Philox4x32-10 one counter at a time, from Salmon et al. 2011, table 2 and section 3.3.
func philox(c [4]uint32, key [2]uint32) [4]uint32 {
	for range 10 {
		h0, l0 := bits.Mul32(0xD2511F53, c[0])
		h1, l1 := bits.Mul32(0xCD9E8D57, c[2])
		c = [4]uint32{h1 ^ c[1] ^ key[0], l1, h0 ^ c[3] ^ key[1], l0}
		key[0] += 0x9E3779B9
		key[1] += 0xBB67AE85
	}
	return c
}

// TestPhiloxReference holds the reference to the known answers of the generator's authors (Random123, kat_vectors).
func TestPhiloxReference(t *testing.T) {
	for _, c := range []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, [2]uint32{0xffffffff, 0xffffffff},
			[4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := philox(c.counter, c.key); got != c.want {
			t.Errorf("philox(%x, %x) is %x, want %x", c.counter, c.key, got, c.want)
		}
	}
}

// drawn is the number drawn for an element, by the layout that dropout.inc.h describes.
func drawn(seed, stream int64, element uint64) uint32 {
	block, in := element/64, element%64
	counter := block*16 + in%16
	return philox([4]uint32{uint32(counter), uint32(counter >> 32), uint32(stream), uint32(stream >> 32)},
		[2]uint32{uint32(seed), uint32(seed >> 32)})[in/16]
}

// kept says whether an element survives.
func kept(seed, stream int64, element uint64, rate float64) bool {
	return drawn(seed, stream, element)>>8 >= uint32(math.Round(rate*(1<<24)))
}

func dropoutCall(y, x *matrix, rate float64, seed, stream int64) *Call {
	c := callOf(OpDropout, DropoutConstants{Rate: rate, Stream: stream}, y, x)
	c.NArgs, c.A[2] = 3, Matrix(unsafe.Pointer(&seed), I64, 1, 1, 8)
	return c
}

// TestDropout compares every element with the reference: the mask is the same at every level, in place, for any
// threads.
func TestDropout(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		for _, s := range []struct {
			n, rows      int
			rate         float64
			seed, stream int64
		}{{1, 1, 0.5, 1, 2}, {64, 3, 0.1, 1 << 40, -1}, {37, 11, 0.25, -5, 1 << 33}, {130, 5, 0.9, 7, 0},
			{100, 2, 0, 1, 1}, {3, 50, 0.5, 1, 1}} {
			x := fill(rand.New(rand.NewPCG(1, 1)), newStrided(s.n, s.rows, s.n+2))
			y := runThreads(t, "dropout", []*matrix{newMatrix(s.n, s.rows)}, func(o []*matrix) *Call {
				return dropoutCall(o[0], x, s.rate, s.seed, s.stream)
			})[0]
			scale := float32(1 / (1 - s.rate))
			for r := range s.rows {
				for i, v := range x.row(r) {
					want := float32(0)
					if kept(s.seed, s.stream, uint64(r*s.n+i), s.rate) {
						want = v * scale
					}
					if got := y.row(r)[i]; got != want {
						t.Fatalf("%+v: [%d,%d]: got %v, want %v", s, i, r, got, want)
					}
				}
			}
			over := runThreads(t, "dropout", []*matrix{x},
				func(o []*matrix) *Call { return dropoutCall(o[0], o[0], s.rate, s.seed, s.stream) })[0]
			sameBits(t, "dropout in place", over, y)
		}
	})
}

// TestDropoutStatistics looks at a million draws: the share kept, its share in every column, and the agreement of masks
// that differ in seed, stream or row, each within five standard deviations of what independent draws give.
func TestDropoutStatistics(t *testing.T) {
	const n, rows, rate = 1000, 1000, 0.3
	one := newMatrix(n, rows)
	for i := range one.v[:n*rows] {
		one.v[i] = 1
	}
	mask := func(seed, stream int64) *matrix {
		y := newMatrix(n, rows)
		if err := runCall(dropoutCall(y, one, rate, seed, stream), 1); err != nil {
			t.Fatal(err)
		}
		return y
	}
	within := func(what string, hits, draws int, p float64) {
		t.Helper()
		if d := math.Abs(float64(hits) - p*float64(draws)); d > 5*math.Sqrt(p*(1-p)*float64(draws)) {
			t.Errorf("%s: %d of %d, expected a share of %v", what, hits, draws, p)
		}
	}
	a := mask(1, 1)
	both := func(b *matrix, shift int) (hits, draws int) {
		for i := range n*rows - shift {
			if (a.v[i] != 0) == (b.v[i+shift] != 0) {
				hits++
			}
		}
		return hits, n*rows - shift
	}
	total, columns := 0, make([]int, n)
	for r := range rows {
		for i, v := range a.row(r) {
			if v != 0 {
				total++
				columns[i]++
			}
		}
	}
	within("kept", total, n*rows, 1-rate)
	for i, c := range columns {
		within("kept in column "+string(rune('0'+i%10)), c, rows, 1-rate)
	}
	const agree = rate*rate + (1-rate)*(1-rate)
	for what, c := range map[string]struct {
		b     *matrix
		shift int
	}{"next seed": {mask(2, 1), 0}, "next stream": {mask(1, 2), 0}, "next element": {a, 1}, "next lane": {a, 16},
		"next block": {a, 64}, "next row": {a, n}} {
		hits, draws := both(c.b, c.shift)
		within(what, hits, draws, agree)
	}
}
