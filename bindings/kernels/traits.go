package kernels

/*
#include "../ggmlapi.h"

static int gt_type_exists(int type) {
    return type >= 0 && type < GGML_TYPE_COUNT && ggml_get_type_traits((enum ggml_type)type)->type_size > 0;
}
static void gt_to_float(int type, const void *src, float *dst, int64_t n) {
    ggml_get_type_traits((enum ggml_type)type)->to_float(src, dst, n);
}
*/
import "C"

import (
	"unsafe"

	_ "github.com/ggtune/ggtune/third_party/ggml" // ggml_get_type_traits
)

// traits are what ggml says of a storage type.
type traits struct {
	name         string
	block, bytes int
	quantized    bool
}

// traitsOf returns the traits of ggml's type number, or false where there is no such type.
func traitsOf(t Type) (traits, bool) {
	if C.gt_type_exists(C.int(t)) == 0 {
		return traits{}, false
	}
	p := C.ggml_get_type_traits(C.enum_ggml_type(t))
	return traits{
		name: C.GoString(p.type_name), block: int(p.blck_size), bytes: int(p.type_size),
		quantized: bool(p.is_quantized) && p.to_float != nil,
	}, true
}

// toFloat turns n stored numbers of the quantized type t into floats, by ggml's own code.
func toFloat(t Type, b []byte, n int) []float32 {
	out := make([]float32, n)
	if n > 0 {
		C.gt_to_float(C.int(t), unsafe.Pointer(&b[0]), (*C.float)(&out[0]), C.int64_t(n))
	}
	return out
}
