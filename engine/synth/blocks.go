package synth

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/ggtune/ggtune/engine/gguf"
)

// A blockMaker turns random bytes into a valid block of a storage type.
type blockMaker struct {
	// rms is the root mean square of the elements of random blocks with scale 1, as ggml dequantizes them; for grid
	// types (iq1 to iq3) measured over 2^20 elements, for the others it follows from the layout.
	rms float64
	// minRatio is the offset that centres the elements, in units of the scale; 0 for types without an offset.
	minRatio float64
	// signed types take scales of either sign, which centres elements whose range is lopsided (−8 to 7).
	signed bool
	// put writes the scale, and whatever else may not be random, into a block of random bytes.
	put func(b []byte, s scale)
}

// HoldsWeights says whether a storage type is one of weights, which can be generated.
func HoldsWeights(t gguf.Type) bool {
	_, ok := makers[t]
	return ok || t == gguf.F32 || t == gguf.F16 || t == gguf.BF16 || t == gguf.MXFP4
}

// A scale is a block's scale and offset, as half-precision bits.
type scale struct{ d, m uint16 }

func le(b []byte, at int, v uint16) { binary.LittleEndian.PutUint16(b[at:], v) }

func dAt(at int) func([]byte, scale) {
	return func(b []byte, s scale) { le(b, at, s.d) }
}

func dmAt0(b []byte, s scale) { le(b, 0, s.d); le(b, 2, s.m) }

// makers has every quantized type that ggml can dequantize. Field offsets are those of the block structs of
// ggml-common.h.
var makers = map[gguf.Type]blockMaker{
	gguf.Q4_0:    {rms: math.Sqrt(21.5), signed: true, put: dAt(0)},   // −8…7
	gguf.Q4_1:    {rms: math.Sqrt(21.25), minRatio: -7.5, put: dmAt0}, // 0…15 − 7.5
	gguf.Q5_0:    {rms: math.Sqrt(85.5), signed: true, put: dAt(0)},   // −16…15
	gguf.Q5_1:    {rms: math.Sqrt(85.25), minRatio: -15.5, put: dmAt0},
	gguf.Q8_0:    {rms: math.Sqrt(5461.5), signed: true, put: putQ8_0}, // −128…127, with −127 for −128
	gguf.Q2_K:    {rms: 9.5656 * math.Sqrt(1.25), minRatio: 1.5, put: putQ2_K},
	gguf.Q3_K:    {rms: math.Sqrt(341.5 * 5.5), signed: true, put: dAt(108)}, // scales −32…31, elements −4…3
	gguf.Q4_K:    {rms: 41.753 * math.Sqrt(21.25), minRatio: 7.5, put: putQ4_K},
	gguf.Q5_K:    {rms: 41.753 * math.Sqrt(85.25), minRatio: 15.5, put: putQ4_K},
	gguf.Q6_K:    {rms: math.Sqrt(5461.5 * 341.5), signed: true, put: dAt(208)}, // scales −128…127, elements −32…31
	gguf.IQ2_XXS: {rms: 53.75, put: dAt(0)},
	gguf.IQ2_XS:  {rms: 56.01, put: dAt(0)},
	gguf.IQ2_S:   {rms: 56.18, put: dAt(0)},
	gguf.IQ3_XXS: {rms: 142.3, put: dAt(0)},
	gguf.IQ3_S:   {rms: 139.6, put: dAt(0)},
	gguf.IQ1_S:   {rms: 7.235, signed: true, put: dAt(0)},
	gguf.IQ1_M:   {rms: 7.218, signed: true, put: putIQ1_M},
	gguf.IQ4_NL:  {rms: 67.51, signed: true, put: dAt(0)},
	gguf.IQ4_XS:  {rms: 1251, signed: true, put: dAt(0)},
	gguf.TQ1_0:   {rms: math.Sqrt(2.0 / 3), signed: true, put: dAt(52)},
	gguf.TQ2_0:   {rms: math.Sqrt(3.0 / 4), signed: true, put: putTQ2_0},
}

// putQ8_0 avoids −128: quantizers do not make it, and some kernels negate elements in 8 bits.
func putQ8_0(b []byte, s scale) {
	le(b, 0, s.d)
	for i, q := range b[2:] {
		if q == 0x80 {
			b[2+i] = 0x81
		}
	}
}

// jitter is −1, 0, 0 or 1.
var jitter = [4]byte{0xff, 0, 0, 1}

// putQ2_K makes the 16 scales 8 to 11 and the offsets nearly, but not always, equal to them.
func putQ2_K(b []byte, s scale) {
	for i, r := range b[:16] {
		sc := 8 + r&3
		b[i] = sc | (sc+jitter[r>>2&3])<<4
	}
	le(b, 80, s.d)
	le(b, 82, s.m)
}

// putQ4_K makes the 8 scales 34 to 49 and the offsets nearly, but not always, equal to them. It packs them into 12
// bytes as get_scale_min_k4 of ggml-quants.c unpacks them: the low 6 bits of bytes 0-3 and 4-7 are the first four
// scales and offsets; nibbles of bytes 8-11, with the top 2 bits of bytes 0-3 and 4-7, the last four.
func putQ4_K(b []byte, s scale) {
	le(b, 0, s.d)
	le(b, 2, s.m)
	p := b[4:16]
	var sc, m [8]byte
	for i := range sc {
		sc[i] = 34 + p[i]&15
		m[i] = sc[i] + jitter[p[i]>>4&3]
	}
	for i := range 4 {
		p[i] = sc[i] | sc[i+4]>>4<<6
		p[i+4] = m[i] | m[i+4]>>4<<6
		p[i+8] = sc[i+4]&15 | m[i+4]<<4
	}
}

// putIQ1_M spreads the scale over the top nibbles of the four 16-bit words of scales.
func putIQ1_M(b []byte, s scale) {
	for i := range 4 {
		at := 48 + 2*i
		w := binary.LittleEndian.Uint16(b[at:])
		le(b, at, w&0x0fff|s.d>>(4*i)<<12)
	}
}

// putTQ2_0 turns the unused digit 3 into 2.
func putTQ2_0(b []byte, s scale) {
	for i, q := range b[:64] {
		b[i] = q &^ (q >> 1 & q & 0x55)
	}
	le(b, 64, s.d)
}

// scales makes 16 scales around the one that gives the elements deviation std. They differ, so that a kernel which
// takes a neighbour's scale is found out.
func (mk blockMaker) scales(std float64) [16]scale {
	var out [16]scale
	const spread = 1.0262 // root mean square of the factors below
	for i := range out {
		d := std / mk.rms / spread * (1 + (float64(i)-7.5)/20)
		// Six bits of precision, and no finer than 2^-23: then d·minRatio is exact in half precision, and so is the
		// centring.
		_, e := math.Frexp(d)
		step := math.Ldexp(1, max(e-6, -23))
		d = max(math.Round(d/step), 1) * step
		out[i] = scale{f16(d), f16(d * mk.minRatio)}
	}
	return out
}

// generate writes n elements of type t and deviation std to w, in pieces.
func (s stream) generate(w io.Writer, t gguf.Type, n int64, mean, std float64) error {
	switch t {
	case gguf.F32, gguf.F16, gguf.BF16:
		return s.floats(w, t, n, mean, std)
	case gguf.MXFP4:
		return s.mxfp4(w, n, std)
	}
	mk, ok := makers[t]
	if !ok { // Validate refuses it before
		return fmt.Errorf("storage type %s holds no weights; choose one that llama.cpp runs", t)
	}
	scales := mk.scales(std)
	return s.blocks(w, t, n, func(b []byte) {
		r := b[0] // random: chooses the scale
		sc := scales[r&15]
		if mk.signed && r&0x80 != 0 {
			sc.d ^= 0x8000
		}
		mk.put(b, sc)
	})
}

// blocks writes n elements in blocks of random bytes, each passed through finish.
func (s stream) blocks(w io.Writer, t gguf.Type, n int64, finish func(b []byte)) error {
	size := t.BlockBytes()
	const perPiece = 512 // a multiple of 8, so that pieces are whole words; pieces of 9 to 128 KiB
	buf := make([]byte, perPiece*size)
	word := uint64(0)
	for left := n / int64(t.BlockSize()); left > 0; {
		k := min(left, perPiece)
		piece := buf[:(int(k)*size+7)&^7]
		s.fill(piece, word)
		word += uint64(len(piece) / 8)
		for i := range int(k) {
			finish(piece[i*size : (i+1)*size : (i+1)*size])
		}
		if _, err := w.Write(piece[:int(k)*size]); err != nil {
			return err
		}
		left -= k
	}
	return nil
}

// mxfp4 makes blocks whose shared exponent, a power of two, is that nearest to std or one more or less: the deviation
// is within a factor of √2 of std. The elements of scale 1 are ±{0, 0.5, 1, 1.5, 2, 3, 4, 6}.
func (s stream) mxfp4(w io.Writer, n int64, std float64) error {
	const rms = 3.845 // √(68.5/8), times 1.314 for the exponents −1, 0, 0, 1
	e := byte(127 + int(math.Round(math.Log2(std/rms))))
	return s.blocks(w, gguf.MXFP4, n, func(b []byte) {
		b[0] = e + jitter[b[0]&3]
	})
}

func (s stream) floats(w io.Writer, t gguf.Type, n int64, mean, std float64) error {
	size := t.BlockBytes()
	const perPiece = 4096
	buf := make([]byte, 0, perPiece*size)
	for i := range n {
		// The conversion forbids a fused multiply-add, which only some machines have: files must be equal everywhere.
		x := mean + float64(std*normal(s.word(uint64(i))))
		switch t {
		case gguf.F32:
			buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(float32(x)))
		case gguf.F16:
			buf = binary.LittleEndian.AppendUint16(buf, f16(x))
		case gguf.BF16:
			buf = binary.LittleEndian.AppendUint16(buf, bf16(float32(x)))
		}
		if len(buf) == cap(buf) || i == n-1 {
			if _, err := w.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	return nil
}
