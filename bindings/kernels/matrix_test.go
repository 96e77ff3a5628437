package kernels

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// matrix is ne1 rows of ne0 floats, stride floats apart; what lies between rows is a guard that no kernel may touch.
type matrix struct {
	ne0, ne1, stride int
	v                []float32
}

const guard = -12345.5

func newMatrix(ne0, ne1 int) *matrix { return newStrided(ne0, ne1, ne0) }

func newStrided(ne0, ne1, stride int) *matrix {
	m := &matrix{ne0, ne1, stride, make([]float32, ne1*stride+1)}
	for i := range m.v {
		m.v[i] = guard
	}
	for t := range ne1 {
		clear(m.row(t))
	}
	return m
}

func randomMatrix(r *rand.Rand, ne0, ne1 int) *matrix {
	return fill(r, newMatrix(ne0, ne1))
}

func fill(r *rand.Rand, m *matrix) *matrix {
	for t := range m.ne1 {
		for i := range m.row(t) {
			m.row(t)[i] = float32(r.NormFloat64())
		}
	}
	return m
}

func (m *matrix) row(t int) []float32 { return m.v[t*m.stride : t*m.stride+m.ne0] }

func (m *matrix) clone() *matrix {
	c := *m
	c.v = append([]float32(nil), m.v...)
	return &c
}

func (m *matrix) arg() Arg {
	return Matrix(unsafe.Pointer(&m.v[0]), F32, int64(m.ne0), int64(m.ne1), int64(m.stride)*4)
}

// checkGuards fails the test if a kernel wrote between the rows or behind the last one.
func (m *matrix) checkGuards(t testing.TB) {
	t.Helper()
	for i, v := range m.v {
		if (i%max(m.stride, 1) >= m.ne0 || i >= m.ne1*m.stride) && v != guard {
			t.Fatalf("float %d, between rows of %d floats %d apart, was overwritten with %v", i, m.ne0, m.stride, v)
		}
	}
}

// sameBits fails the test unless a and b hold the same numbers bit for bit.
func sameBits(t testing.TB, what string, a, b *matrix) {
	t.Helper()
	for r := range a.ne1 {
		for i := range a.row(r) {
			if math.Float32bits(a.row(r)[i]) != math.Float32bits(b.row(r)[i]) {
				t.Fatalf("%s: row %d column %d is %v, not %v", what, r, i, a.row(r)[i], b.row(r)[i])
			}
		}
	}
}

// stored is a matrix of any type, its rows nb1 bytes apart and not aligned beyond 2 bytes, with its values as floats.
type stored struct {
	typ           Type
	ne0, ne1, nb1 int
	b             []byte
	values        *matrix
}

func (w *stored) name() string {
	tr, _ := traitsOf(w.typ)
	return tr.name
}

func (w *stored) arg() Arg {
	return Matrix(unsafe.Pointer(&w.b[0]), w.typ, int64(w.ne0), int64(w.ne1), int64(w.nb1))
}

// newStored makes room for rows that are apart. Floats are aligned to 4 bytes, every other type begins at an odd
// multiple of 2.
func newStored(typ Type, ne0, ne1 int) *stored {
	tr, _ := traitsOf(typ)
	size, pad := ne0/tr.block*tr.bytes, 6
	if typ == F32 {
		pad = 8
	}
	w := &stored{typ: typ, ne0: ne0, ne1: ne1, nb1: size + pad, values: newMatrix(ne0, ne1)}
	w.b = make([]byte, pad+w.nb1*ne1+8)[pad:]
	return w
}

// randomWeights returns random numbers of any type.
func randomWeights(r *rand.Rand, typ Type, ne0, ne1 int) *stored {
	w := newStored(typ, ne0, ne1)
	for i := range ne1 {
		row, dst := w.b[i*w.nb1:], w.values.row(i)
		if typ != F32 && typ != F16 && typ != BF16 {
			b := randomBlocks(r, typ, ne0, false)
			copy(row, b)
			copy(dst, toFloat(typ, b, ne0))
			continue
		}
		for k := range dst {
			v := float32(r.NormFloat64())
			switch typ {
			case F32:
				binary.LittleEndian.PutUint32(row[4*k:], math.Float32bits(v))
			case BF16:
				binary.LittleEndian.PutUint16(row[2*k:], uint16(math.Float32bits(v)>>16))
				v = math.Float32frombits(math.Float32bits(v) &^ 0xffff)
			case F16:
				h := uint16(r.Uint32())&0x83ff | uint16(12+r.IntN(4))<<10
				binary.LittleEndian.PutUint16(row[2*k:], h)
				v = half(h)
			}
			dst[k] = v
		}
	}
	return w
}

// packedActs is the output of OpPack.
type packedActs struct {
	b        []float32
	ne0, ne1 int
}

func (p *packedActs) arg() Arg {
	return Matrix(unsafe.Pointer(&p.b[0]), Packed, int64(p.ne0), int64(p.ne1), 0)
}

func packed(t testing.TB, x *matrix) *packedActs {
	t.Helper()
	p := &packedActs{make([]float32, PackedBytes(int64(x.ne0), int64(x.ne1))/4+1), x.ne0, x.ne1}
	p.b[len(p.b)-1] = guard
	call := OpPack.Call(None{}, p.arg(), x.arg())
	if err := runCall(&call, 2); err != nil {
		t.Fatal(err)
	}
	if p.b[len(p.b)-1] != guard {
		t.Fatal("packing wrote beyond PackedBytes")
	}
	return p
}
