// Package reference knows what llama.cpp's own quantizer and a collector over its evaluation callback give, for tests
// to compare ours with. It is in no binary: the quantizer holds whole tensors in F32, is not atomic, and asserts on
// threads that nobody guards.
package reference

/*
#cgo CXXFLAGS: -std=c++17 -O2 -Wall -Wextra
#include <stdlib.h>
#include "reference.h"
*/
import "C"

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/ggtune/ggtune/bindings"
	_ "github.com/ggtune/ggtune/bindings/llama" // which links llama.cpp
)

// Quantize has llama.cpp write the model in under the name out as a file type (enum llama_ftype). importance is nil or
// the importance matrix: for each tensor one number an element of its rows, for each of its matrices.
func Quantize(in, out string, fileType uint32, requantize bool, importance map[string][]float32) error {
	cin, cout := C.CString(in), C.CString(out)
	defer C.free(unsafe.Pointer(cin))
	defer C.free(unsafe.Pointer(cout))
	var (
		weights *C.gt_weights
		st      C.gt_status
	)
	if importance != nil { // C memory throughout: it points to itself
		size := C.size_t(unsafe.Sizeof(C.gt_weights{}))
		weights = (*C.gt_weights)(C.calloc(C.size_t(len(importance)+1), size))
		defer C.free(unsafe.Pointer(weights))
		list := unsafe.Slice(weights, len(importance))
		i := 0
		for name, values := range importance {
			list[i].name = C.CString(name)
			defer C.free(unsafe.Pointer(list[i].name))
			b := C.CBytes(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), 4*len(values)))
			defer C.free(b)
			list[i].values, list[i].n = (*C.float)(b), C.int64_t(len(values))
			i++
		}
	}
	if C.gt_ref_quantize(cin, cout, C.int32_t(fileType), C.bool(requantize), weights, C.int64_t(len(importance)),
		&st) != C.GT_OK {
		return fmt.Errorf("%s: llama.cpp's quantizer: %w", in,
			&bindings.Error{Op: "quantize", Code: bindings.Code(st.code), Message: C.GoString(&st.message[0])})
	}
	return nil
}

// A Sum is what Activations gathers of a matrix, or of those of experts, one after the other.
type Sum struct {
	Squares []float32 // of each element of the vectors that the matrix is multiplied with
	Counts  []int64   // of vectors
}

// Activations has llama.cpp run tokens, and sums up by tensor the squares of what each matrix is multiplied with.
func Activations(model string, tokens []int32) (map[string]Sum, error) {
	cmodel := C.CString(model)
	defer C.free(unsafe.Pointer(cmodel))
	var (
		sums *C.gt_sums
		st   C.gt_status
	)
	code := C.gt_ref_activations(cmodel, (*C.int32_t)(unsafe.Pointer(unsafe.SliceData(tokens))), C.int32_t(len(tokens)),
		&sums, &st)
	defer C.gt_ref_free(sums)
	if code != C.GT_OK {
		return nil, &bindings.Error{Op: model + ": run with llama.cpp", Code: bindings.Code(st.code),
			Message: C.GoString(&st.message[0])}
	}
	out := map[string]Sum{}
	for i := C.int64_t(0); ; i++ {
		var counts *C.int64_t
		var n C.int64_t
		w := C.gt_ref_sum(sums, i, &counts, &n)
		if w.name == nil {
			return out, nil
		}
		values := unsafe.Slice((*float32)(unsafe.Pointer(w.values)), w.n)
		vectors := unsafe.Slice((*int64)(unsafe.Pointer(counts)), n)
		out[C.GoString(w.name)] = Sum{Squares: slices.Clone(values), Counts: slices.Clone(vectors)}
	}
}
