package ggml

/*
#include "types.h"
*/
import "C"

import (
	"fmt"
	"slices"
	"sync"
	"unsafe"
)

// Type is a storage type, with ggml's number, which GGUF files use as well. Values are blocks of elements; a row must
// be a whole number of blocks.
type Type int32

// The types that code names; the others are reached by number.
const (
	F32  Type = 0
	F16  Type = 1
	Q4_0 Type = 2
	Q4_1 Type = 3
	Q5_0 Type = 6
	Q5_1 Type = 7
	Q8_0 Type = 8
	Q2_K Type = 10
	Q3_K Type = 11
	Q4_K Type = 12
	Q5_K Type = 13
	Q6_K Type = 14
	I8   Type = 24
	I32  Type = 26
	BF16 Type = 30
)

// typeCount is one more than the largest type number that ggml may be asked about: beyond it, ggml asserts.
const typeCount = 40

// MaxElements is the most elements of one Dequantize or Quantize.
const MaxElements = 1 << 40

// quantizable lists what ggml_quantize_chunk can write: for another type it asserts.
var quantizable = []Type{F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, 16, 17, 18, 19, 20,
	21, 22, 23, 29, 34, 35, 39}

type typeInfo struct {
	name                                    string
	block, bytes                            int64
	quantized, dequantizes, needsImportance bool
}

// typeTable is ggml's table of types, read once.
var typeTable = sync.OnceValue(func() *[typeCount]typeInfo {
	var (
		table [typeCount]typeInfo
		st    C.gt_status
	)
	for i := range table {
		var c C.gt_type_info
		if C.gt_type_describe(C.int32_t(i), &c, &st) != C.GT_OK {
			panic(statusError(fmt.Sprintf("describe storage type %d", i), &st)) // typeCount is wrong: our own fault
		}
		if c.block > 0 {
			table[i] = typeInfo{C.GoString(c.name), int64(c.block), int64(c.bytes), bool(c.quantized),
				bool(c.dequantizes), bool(c.needs_imatrix)}
		}
	}
	return &table
})

func (t Type) info() typeInfo {
	if t < 0 || t >= typeCount {
		return typeInfo{}
	}
	return typeTable()[t]
}

// Types returns every storage type ggml knows, by number.
func Types() []Type {
	var all []Type
	for t := range Type(typeCount) {
		if t.Known() {
			all = append(all, t)
		}
	}
	return all
}

// Known reports whether ggml has such a type.
func (t Type) Known() bool { return t.info().block > 0 }

// String returns ggml's name, such as "q4_K".
func (t Type) String() string {
	if info := t.info(); info.block > 0 {
		return info.name
	}
	return fmt.Sprintf("storage type %d", int32(t))
}

// BlockSize returns the number of elements in a block, 0 for an unknown type.
func (t Type) BlockSize() int64 { return t.info().block }

// TypeSize returns the bytes of a block, 0 for an unknown type.
func (t Type) TypeSize() int64 { return t.info().bytes }

// Quantized reports whether a block holds integers and scales.
func (t Type) Quantized() bool { return t.info().quantized }

// Dequantizes reports whether Dequantize works on the type.
func (t Type) Dequantizes() bool { return t.info().dequantizes }

// NeedsImportance reports whether quantizing to the type takes an importance matrix.
func (t Type) NeedsImportance() bool { return t.info().needsImportance }

// Quantizes reports whether QuantizeTo works on the type; some want an importance matrix (NeedsImportance).
func (t Type) Quantizes() bool { return slices.Contains(quantizable, t) }

// RowSize returns the bytes of n elements, which must be a whole number of blocks.
func (t Type) RowSize(n int64) (int64, error) {
	info := t.info()
	switch {
	case info.block == 0:
		return 0, fmt.Errorf("storage type %d is unknown", int32(t))
	case n < 0 || n > MaxElements:
		return 0, fmt.Errorf("%d elements of %s: want 0 to 2^40", n, t)
	case n%info.block != 0:
		return 0, fmt.Errorf("%d elements of %s: want a multiple of its block of %d", n, t, info.block)
	}
	return n / info.block * info.bytes, nil
}

// sized checks that b holds n elements of the type.
func (t Type) sized(doing string, b []byte, n int64) error {
	size, err := t.RowSize(n)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if int64(len(b)) != size {
		return fmt.Errorf("%s: %d elements of %s take %d bytes, found %d", doing, n, t, size, len(b))
	}
	return nil
}

// Dequantize returns the n elements stored in src as float32. src must be exactly their size.
func Dequantize(t Type, src []byte, n int64) ([]float32, error) {
	if err := t.sized("dequantize", src, n); err != nil {
		return nil, err
	}
	dst := make([]float32, n)
	return dst, DequantizeTo(t, dst, src)
}

// DequantizeTo fills dst with the elements stored in src, which must be exactly their size.
func DequantizeTo(t Type, dst []float32, src []byte) error {
	if err := t.sized("dequantize", src, int64(len(dst))); err != nil {
		return err
	}
	if !t.Dequantizes() {
		return fmt.Errorf("dequantize %s: ggml cannot turn it into numbers", t)
	}
	if len(dst) == 0 {
		return nil
	}
	var st C.gt_status
	if C.gt_dequantize(C.int32_t(t), unsafe.Pointer(&src[0]), (*C.float)(&dst[0]), C.int64_t(len(dst)),
		&st) != C.GT_OK {
		return statusError("dequantize "+t.String(), &st)
	}
	return nil
}

// Quantize returns src, rows of n elements, stored as t: see QuantizeTo.
func Quantize(t Type, src []float32, n int64) ([]byte, error) {
	var size int64
	if n > 0 && t.Known() { // QuantizeTo says what is wrong
		size, _ = t.RowSize(n)
		size *= int64(len(src)) / n
	}
	dst := make([]byte, size)
	if err := QuantizeTo(t, dst, src, n, nil); err != nil {
		return nil, err
	}
	return dst, nil
}

// QuantizeTo stores src, rows of n elements, as t in dst, which must be exactly their size. importance is nil or weighs
// the n elements of each row. Numbers that are not finite are refused, and so is a type that takes an importance matrix
// where there is none. Rows do not depend on each other: a matrix in pieces has the same bytes as the whole.
func QuantizeTo(t Type, dst []byte, src []float32, n int64, importance []float32) error {
	switch {
	case n <= 0 || int64(len(src))%n != 0:
		return fmt.Errorf("quantize %d numbers as rows of %d: want a multiple", len(src), n)
	case !t.Known():
		return fmt.Errorf("quantize: storage type %d is unknown", int32(t))
	case !t.Quantizes():
		return fmt.Errorf("quantize to %s: ggml cannot write it", t)
	case importance == nil && t.NeedsImportance():
		return fmt.Errorf("quantize to %s: it takes an importance matrix, which there is none of; choose another type",
			t)
	case importance != nil && int64(len(importance)) != n:
		return fmt.Errorf("quantize to %s: an importance matrix of %d elements for rows of %d", t, len(importance), n)
	}
	if _, err := t.RowSize(n); err != nil {
		return fmt.Errorf("quantize: %w", err)
	}
	if err := t.sized("quantize", dst, int64(len(src))); err != nil {
		return err
	}
	if i := NotFinite(src); i >= 0 {
		return fmt.Errorf("quantize to %s: element %d is %v; only finite numbers can be stored", t, i, src[i])
	}
	if i := NotFinite(importance); i >= 0 {
		return fmt.Errorf("quantize to %s: element %d of the importance matrix is %v; want finite numbers", t, i,
			importance[i])
	}
	if len(src) == 0 {
		return nil
	}
	var (
		weights *C.float
		st      C.gt_status
	)
	if importance != nil {
		weights = (*C.float)(&importance[0])
	}
	if C.gt_quantize(C.int32_t(t), (*C.float)(&src[0]), unsafe.Pointer(&dst[0]), C.int64_t(int64(len(src))/n),
		C.int64_t(n), weights, &st) != C.GT_OK {
		return statusError("quantize to "+t.String(), &st)
	}
	return nil
}

// NotFinite is the index of the first NaN or infinity, or -1.
func NotFinite(x []float32) int {
	for i, v := range x {
		if v-v != 0 {
			return i
		}
	}
	return -1
}
