package kernels

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// ggml's numbers of the types that the tests name.
const (
	q4  Type = 2
	q41 Type = 3
	q5  Type = 6
	q51 Type = 7
	q8  Type = 8
	q2k Type = 10
	q3k Type = 11
	q4k Type = 12
	q5k Type = 13
	q6k Type = 14
)

// storageTypes returns every type a weight may have.
func storageTypes() []Type {
	var out []Type
	for t := Type(0); t < 40; t++ {
		if tr, ok := traitsOf(t); ok && (tr.quantized || t == F32 || t == F16 || t == BF16) {
			out = append(out, t)
		}
	}
	return out
}

// halves says where the half-precision numbers of a block lie. All other bytes of a block can be anything.
var halves = map[Type][]int{
	q4: {0}, q41: {0, 2}, q5: {0}, q51: {0, 2}, q8: {0}, q2k: {80, 82}, q3k: {108}, q4k: {0, 2}, q5k: {0, 2},
	q6k: {208},
	16:  {0}, 17: {0}, 18: {0}, 19: {0}, 20: {0}, 21: {0}, 22: {0}, 23: {0}, // iq2_xxs to iq4_xs
	34: {52}, 35: {64}, // tq1_0, tq2_0
}

// hasMinimum tells types whose values are q·d + m: ggml rounds the product first or not, as its compiler saw fit.
var hasMinimum = map[Type]bool{q41: true, q51: true, q2k: true, q4k: true, q5k: true}

// randomBlocks returns n numbers in blocks of random bytes. Their scales are wild, any finite number with subnormals
// among them, or tame, between 1/4096 and 1/8.
func randomBlocks(r *rand.Rand, typ Type, n int, wild bool) []byte {
	tr, _ := traitsOf(typ)
	b := make([]byte, n/tr.block*tr.bytes)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	scale := func() uint16 {
		h := uint16(r.Uint32())
		if wild && h>>10&31 != 31 {
			return h
		}
		return h&0x83ff | uint16(3+r.IntN(9))<<10
	}
	for i := 0; i < len(b); i += tr.bytes {
		for _, at := range halves[typ] {
			binary.LittleEndian.PutUint16(b[i+at:], scale())
		}
		switch typ {
		case 29: // iq1_m: four nibbles of the half-precision scale are the high ones of four 16-bit words
			for j, h := 0, scale(); j < 4; j++ {
				at := i + 48 + 2*j + 1
				b[at] = b[at]&15 | byte(h>>(4*j)&15)<<4
			}
		case 39: // mxfp4: a byte of exponent
			if !wild {
				b[i] = byte(120 + r.IntN(8))
			}
		}
	}
	return b
}

// TestRowsEqualGGML holds every unpacker to ggml's to_float, bit for bit, on blocks of random bytes.
func TestRowsEqualGGML(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(11, 12))
		for _, typ := range storageTypes() {
			tr, _ := traitsOf(typ)
			if !tr.quantized {
				continue
			}
			const n, rows = 1024, 5
			b := randomBlocks(r, typ, n*rows, true)
			size := len(b) / rows
			unaligned := append(make([]byte, 2, len(b)+2), b...)[2:]
			got, ids := newMatrix(n, 3), []int32{4, 0, 4}
			call := OpRows.Call(None{}, got.arg(), Matrix(unsafe.Pointer(&unaligned[0]), typ, n, rows, int64(size)),
				ints(ids, 3))
			if err := runCall(&call, 2); err != nil {
				t.Fatal(err)
			}
			for i, id := range ids {
				want := toFloat(typ, b[int(id)*size:], n)
				for k, w := range want {
					g := got.row(i)[k]
					if math.Float32bits(g) == math.Float32bits(w) || g != g && w != w {
						continue
					}
					// With a minimum m, q·d + m: half an ulp of the product, which is at most |value| + |m|; the
					// block's largest value bounds both.
					if block := want[k/tr.block*tr.block:][:tr.block]; hasMinimum[typ] &&
						math.Abs(float64(g-w)) <= 0x1p-23*largest(block) {
						continue
					}
					t.Fatalf("%s: number %d of row %d is %v, ggml says %v", tr.name, k, id, g, w)
				}
			}
		}
	})
}

func largest(v []float32) (m float64) {
	for _, x := range v {
		m = max(m, math.Abs(float64(x)))
	}
	return m
}

// TestRowsFloats looks up rows of the types that are not quantized, with every half-precision number among them.
func TestRowsFloats(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		b := make([]byte, 2<<16)
		for i := range 1 << 16 {
			binary.LittleEndian.PutUint16(b[2*i:], uint16(i))
		}
		for _, typ := range []Type{F16, BF16} {
			got, ids := newMatrix(257, 2), []int32{254, 3} // odd rows of 257 in 255 rows
			call := OpRows.Call(None{}, got.arg(), Matrix(unsafe.Pointer(&b[0]), typ, 257, 255, 514), ints(ids, 2))
			for id := range int32(255) {
				ids[0] = id
				if err := runCall(&call, 1); err != nil {
					t.Fatal(err)
				}
				for k, g := range got.row(0) {
					bits := uint16(int(id)*257 + k)
					want := math.Float32frombits(uint32(bits) << 16)
					if typ == F16 {
						want = half(bits)
					}
					if math.Float32bits(g) != math.Float32bits(want) && !(g != g && want != want) {
						t.Fatalf("type %d bits %#04x: got %v, want %v", typ, bits, g, want)
					}
				}
			}
		}
	})
}

// half is the textbook definition of a half-precision number.
func half(h uint16) float32 {
	sign, e, m := 1.0, int(h>>10&31), float64(h&1023)
	if h>>15 == 1 {
		sign = -1
	}
	switch e {
	case 31:
		if m != 0 {
			return float32(math.NaN())
		}
		return float32(math.Inf(int(sign)))
	case 0:
		return float32(math.Copysign(math.Ldexp(m, -24), sign))
	}
	return float32(sign * math.Ldexp(1+m/1024, e-15))
}

// TestRowsAdd adds rows, some twice, in order.
func TestRowsAdd(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(13, 14))
		table, x, ids := fill(r, newStrided(50, 7, 53)), randomMatrix(r, 50, 4), []int32{6, 2, 6, 0}
		want := table.clone()
		for i, id := range ids {
			for k, v := range x.row(i) {
				want.row(int(id))[k] = float32(float64(want.row(int(id))[k]) + 0.5*float64(v))
			}
		}
		for _, nth := range []int{1, 2, 3, 5} {
			got := table.clone()
			call := OpRowsAdd.Call(RowsAddConstants{Scale: 0.5}, got.arg(), x.arg(), ints(ids, 4))
			if err := runCall(&call, nth); err != nil {
				t.Fatal(err)
			}
			got.checkGuards(t)
			sameBits(t, "row sums", got, want)
		}
	})
}
