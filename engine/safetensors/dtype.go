package safetensors

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
)

// A DType is the type of a tensor's elements, as headers name it.
type DType string

// Those that weights have.
const (
	F64  DType = "F64"
	F32  DType = "F32"
	F16  DType = "F16"
	BF16 DType = "BF16"
)

// dtypes are the bits of an element (safetensors' src/tensor.rs, enum Dtype).
var dtypes = map[DType]int{
	"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
	"F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, F16: 16, BF16: 16, "I32": 32, "U32": 32, F32: 32,
	"C64": 64, F64: 64, "I64": 64, "U64": 64,
}

// IsFloat says whether ReadFloats reads elements of this type.
func (d DType) IsFloat() bool { return d == F32 || d == F16 || d == BF16 || d == F64 }

// Bytes is the size of an element that IsFloat.
func (d DType) Bytes() int { return dtypes[d] / 8 }

func floatNames() string { return names(DType.IsFloat) }

func names(of func(DType) bool) string {
	var out []string
	for d := range dtypes {
		if of(d) {
			out = append(out, string(d))
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// decode reads len(dst) elements of src.
func (d DType) decode(dst []float32, src []byte) {
	le := binary.LittleEndian
	for i := range dst {
		switch d {
		case F32:
			dst[i] = math.Float32frombits(le.Uint32(src[4*i:]))
		case F64:
			dst[i] = float32(math.Float64frombits(le.Uint64(src[8*i:])))
		case BF16:
			dst[i] = math.Float32frombits(uint32(le.Uint16(src[2*i:])) << 16)
		case F16:
			dst[i] = half(le.Uint16(src[2*i:]))
		}
	}
}

// half is the value of an IEEE 754 binary16.
func half(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, int(h>>10&31), uint32(h&0x3ff)
	switch exp {
	case 0: // zero, or a subnormal: frac · 2^-24
		return math.Float32frombits(math.Float32bits(float32(frac)*0x1p-24) | sign)
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | uint32(exp+127-15)<<23 | frac<<13)
}
