package gguf

import (
	"fmt"
	"math"
	"strings"
)

// Type is a tensor's storage type. Its numbers are ggml's (enum ggml_type in ggml.h) and are what files hold.
type Type uint32

// The storage types of the pinned ggml.
const (
	F32     Type = 0
	F16     Type = 1
	Q4_0    Type = 2
	Q4_1    Type = 3
	Q5_0    Type = 6
	Q5_1    Type = 7
	Q8_0    Type = 8
	Q8_1    Type = 9
	Q2_K    Type = 10
	Q3_K    Type = 11
	Q4_K    Type = 12
	Q5_K    Type = 13
	Q6_K    Type = 14
	Q8_K    Type = 15
	IQ2_XXS Type = 16
	IQ2_XS  Type = 17
	IQ3_XXS Type = 18
	IQ1_S   Type = 19
	IQ4_NL  Type = 20
	IQ3_S   Type = 21
	IQ2_S   Type = 22
	IQ4_XS  Type = 23
	I8      Type = 24
	I16     Type = 25
	I32     Type = 26
	I64     Type = 27
	F64     Type = 28
	IQ1_M   Type = 29
	BF16    Type = 30
	TQ1_0   Type = 34
	TQ2_0   Type = 35
	MXFP4   Type = 39
)

type typeInfo struct {
	name       string // as ggml_type_name prints it
	blockSize  int    // elements a block
	blockBytes int    // bytes a block
}

// typeTable follows the block structs of ggml-common.h: sums below are in the order of their fields. The names and
// sizes are compared with that header's text by a test here, and with ggml's own at run time by bindings/ggml.
var typeTable = map[Type]typeInfo{
	F32:     {"f32", 1, 4},
	F16:     {"f16", 1, 2},
	Q4_0:    {"q4_0", 32, 2 + 16},
	Q4_1:    {"q4_1", 32, 2 + 2 + 16},
	Q5_0:    {"q5_0", 32, 2 + 4 + 16},
	Q5_1:    {"q5_1", 32, 2 + 2 + 4 + 16},
	Q8_0:    {"q8_0", 32, 2 + 32},
	Q8_1:    {"q8_1", 32, 2 + 2 + 32},
	Q2_K:    {"q2_K", 256, 16 + 64 + 2 + 2},
	Q3_K:    {"q3_K", 256, 32 + 64 + 12 + 2},
	Q4_K:    {"q4_K", 256, 2 + 2 + 12 + 128},
	Q5_K:    {"q5_K", 256, 2 + 2 + 12 + 32 + 128},
	Q6_K:    {"q6_K", 256, 128 + 64 + 16 + 2},
	Q8_K:    {"q8_K", 256, 4 + 256 + 32},
	IQ2_XXS: {"iq2_xxs", 256, 2 + 64},
	IQ2_XS:  {"iq2_xs", 256, 2 + 64 + 8},
	IQ3_XXS: {"iq3_xxs", 256, 2 + 96},
	IQ1_S:   {"iq1_s", 256, 2 + 32 + 16},
	IQ4_NL:  {"iq4_nl", 32, 2 + 16},
	IQ3_S:   {"iq3_s", 256, 2 + 64 + 8 + 32 + 4},
	IQ2_S:   {"iq2_s", 256, 2 + 64 + 8 + 8},
	IQ4_XS:  {"iq4_xs", 256, 2 + 2 + 4 + 128},
	I8:      {"i8", 1, 1},
	I16:     {"i16", 1, 2},
	I32:     {"i32", 1, 4},
	I64:     {"i64", 1, 8},
	F64:     {"f64", 1, 8},
	IQ1_M:   {"iq1_m", 256, 32 + 16 + 8},
	BF16:    {"bf16", 1, 2},
	TQ1_0:   {"tq1_0", 256, 48 + 4 + 2},
	TQ2_0:   {"tq2_0", 256, 64 + 2},
	MXFP4:   {"mxfp4", 32, 1 + 16},
}

// removedTypes are numbers that files of 2023 and 2024 hold and ggml no longer reads.
var removedTypes = map[Type]string{
	4: "q4_2", 5: "q4_3", 31: "q4_0_4_4", 32: "q4_0_4_8", 33: "q4_0_8_8",
	36: "iq4_nl_4_4", 37: "iq4_nl_4_8", 38: "iq4_nl_8_8",
}

// maxType is one more than the highest number in use.
const maxType = 40

// Types lists the known storage types by number.
func Types() []Type {
	var out []Type
	for t := range Type(maxType) {
		if t.Known() {
			out = append(out, t)
		}
	}
	return out
}

// Known says whether t is a storage type of the pinned ggml.
func (t Type) Known() bool { _, ok := typeTable[t]; return ok }

// String is the name llama.cpp prints, such as "q4_K"; "type 77" for an unknown number.
func (t Type) String() string {
	if i, ok := typeTable[t]; ok {
		return i.name
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// BlockSize is the number of elements of a block; 1 for plain numbers, 0 for an unknown type.
func (t Type) BlockSize() int { return typeTable[t].blockSize }

// BlockBytes is the number of bytes of a block; 0 for an unknown type.
func (t Type) BlockBytes() int { return typeTable[t].blockBytes }

// BitsPerWeight is the storage cost of one element, bits.
func (t Type) BitsPerWeight() float64 {
	i, ok := typeTable[t]
	if !ok {
		return 0
	}
	return 8 * float64(i.blockBytes) / float64(i.blockSize)
}

// IsFloat says whether elements are stored one by one as floating-point numbers.
func (t Type) IsFloat() bool { return t == F32 || t == F16 || t == BF16 || t == F64 }

// IsInt says whether elements are stored one by one as integers.
func (t Type) IsInt() bool { return t >= I8 && t <= I64 }

// IsQuantized says whether elements are stored in blocks with shared scales.
func (t Type) IsQuantized() bool { return t.BlockSize() > 1 }

// ParseType finds a storage type by name in any case: "q4_K", "Q4_K", "BF16".
func ParseType(name string) (Type, error) {
	for t, i := range typeTable {
		if strings.EqualFold(i.name, name) {
			return t, nil
		}
	}
	return 0, fmt.Errorf("storage type %q is unknown; known: %s", name, knownTypes())
}

func knownTypes() string {
	var names []string
	for _, t := range Types() {
		names = append(names, t.String())
	}
	return strings.Join(names, ", ")
}

// Size is the number of bytes of a tensor of this type and shape (ggml order, rows of shape[0] elements). It fails if
// the type is unknown, a dimension is not positive, a row is not a whole number of blocks, or the size overflows.
func (t Type) Size(shape []int64) (int64, error) {
	info, ok := typeTable[t]
	if !ok {
		if old := removedTypes[t]; old != "" {
			return 0, fmt.Errorf(
				"is storage type %d (%s), which ggml no longer reads; get the model in another storage type", uint32(t),
				old)
		}
		return 0, fmt.Errorf("is storage type %d, unknown; known: %s; get the model in one of these", uint32(t),
			knownTypes())
	}
	n := int64(1)
	for _, d := range shape {
		if d <= 0 {
			return 0, fmt.Errorf("has shape %v; dimensions must be positive", shape)
		}
		if n > math.MaxInt64/d {
			return 0, fmt.Errorf("has shape %v; its number of elements overflows 64 bits", shape)
		}
		n *= d
	}
	if row := rowLen(shape); row%int64(info.blockSize) != 0 {
		return 0, fmt.Errorf("of type %s has rows of %d elements; they must be a multiple of %d", t, row,
			info.blockSize)
	}
	blocks := n / int64(info.blockSize)
	if blocks > math.MaxInt64/int64(info.blockBytes) {
		return 0, fmt.Errorf("has shape %v; its size in bytes overflows 64 bits", shape)
	}
	return blocks * int64(info.blockBytes), nil
}

func rowLen(shape []int64) int64 {
	if len(shape) == 0 {
		return 1 // a scalar
	}
	return shape[0]
}
