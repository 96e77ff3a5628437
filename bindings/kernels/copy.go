package kernels

// #include "copy.inc.h"
import "C"

// CopyConstants are those of OpCopy.
type CopyConstants struct {
	Acc bool // add to what is there
}

// Copies and zeroes.
var (
	OpCopy = kernel[CopyConstants, C.gt_copy_constants](C.GT_OP_COPY)
	OpZero = plain(C.GT_OP_ZERO)
)
