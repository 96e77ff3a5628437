package kernels

// #include "add.inc.h"
import "C"

// AddConstants are those of OpAdd.
type AddConstants struct {
	Factor float64 // of the second number
}

// OpAdd adds.
var OpAdd = kernel[AddConstants, C.gt_add_constants](C.GT_OP_ADD)
