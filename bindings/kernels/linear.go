package kernels

// #include "linear.inc.h"
import "C"

// LinearConstants are those of OpLinear and OpLinearT.
type LinearConstants struct {
	Scale  float64 // factor of the product
	Scale2 float64 // factor of the second pair's product
	Acc    bool    // add to what is there
}

// Products with a weight, and with its transpose.
var (
	OpLinear  = kernel[LinearConstants, C.gt_linear_constants](C.GT_OP_LINEAR)
	OpLinearT = kernel[LinearConstants, C.gt_linear_constants](C.GT_OP_LINEAR_T)
)
