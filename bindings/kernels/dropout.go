package kernels

// #include "dropout.inc.h"
import "C"

// DropoutConstants are those of OpDropout.
type DropoutConstants struct {
	Rate   float64 // probability that a number is zeroed
	Stream int64   // which mask of the key's
}

// OpDropout zeroes numbers by chance.
var OpDropout = kernel[DropoutConstants, C.gt_dropout_constants](C.GT_OP_DROPOUT)
