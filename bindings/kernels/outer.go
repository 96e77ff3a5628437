package kernels

// #include "outer.inc.h"
import "C"

// OuterConstants are those of OpOuter.
type OuterConstants struct {
	Scale float64
	Acc   bool // add to what is there
	Fast  bool // BF16 products where the level has them
}

// OpOuter is the gradient of a matrix.
var OpOuter = kernel[OuterConstants, C.gt_outer_constants](C.GT_OP_OUTER)
