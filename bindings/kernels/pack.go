package kernels

// #include "pack.inc.h"
import "C"

// OpPack makes activations ready for the fast mode's products.
var OpPack = plain(C.GT_OP_PACK)

// PackedFormat returns what products of the fast mode are made of at the current level.
func PackedFormat() Format { return Format(C.gt_packed_format()) }

// PackedBytes returns the size in bytes of OpPack's output for x [k, t] at the current level.
func PackedBytes(k, t int64) int64 { return int64(C.gt_packed_bytes(C.int64_t(k), C.int64_t(t))) }
