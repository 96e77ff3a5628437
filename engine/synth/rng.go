package synth

import (
	"encoding/binary"
	"hash/fnv"
	"math"
)

// A stream is a counter-based generator: its i-th word is a function of key and i alone, so tensors can be made in any
// order and any part of one again. The mixing function is splitmix64's (Steele, Lea, Flood: Fast splittable
// pseudorandom number generators, OOPSLA 2014).
type stream struct{ key uint64 }

func newStream(seed uint64, name string) stream {
	h := fnv.New64a()
	h.Write([]byte(name))
	return stream{mix64(seed*0x9e3779b97f4a7c15 ^ h.Sum64())}
}

func mix64(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (s stream) word(i uint64) uint64 { return mix64(s.key + (i+1)*0x9e3779b97f4a7c15) }

// fill fills b, whose length is a multiple of 8, with the words from i on.
func (s stream) fill(b []byte, i uint64) {
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, s.word(i))
		i++
	}
}

// normal turns a word into a bell-shaped number of mean 0 and deviation 1: the sum of four 16-bit uniform numbers,
// which is within ±3.5 and costs a tenth of a true normal.
func normal(w uint64) float64 {
	sum := int64(w&0xffff) + int64(w>>16&0xffff) + int64(w>>32&0xffff) + int64(w>>48)
	const deviation = 37837.22 // √(4·(65536²−1)/12)
	return float64(sum-2*65535) / deviation
}

// f16 rounds x to the nearest half-precision number, ties to even, and returns its bits. |x| must be below 65520.
func f16(x float64) uint16 {
	sign := uint16(0)
	if math.Signbit(x) {
		sign, x = 0x8000, -x
	}
	_, e := math.Frexp(x) // x in [2^(e-1), 2^e)
	e = max(e, -13)       // below 2^-14 the spacing stays 2^-24
	m := math.RoundToEven(math.Ldexp(x, 11-e))
	if m == 0 {
		return sign
	}
	// m is up to 2^11; the implicit bit of a normal number adds one to the exponent, as does a round-up to 2^11.
	return sign + uint16(m) + uint16(e+13)<<10
}

func bf16(x float32) uint16 {
	b := math.Float32bits(x)
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}
