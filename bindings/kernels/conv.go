package kernels

// #include "conv.inc.h"
import "C"

// Causal convolutions of each channel along a tree's branches, their derivatives, and those of texts that grow.
var (
	OpConv     = plain(C.GT_OP_CONV)
	OpConvBack = plain(C.GT_OP_CONV_BACK)
	OpConvGrad = plain(C.GT_OP_CONV_GRAD)
	OpConvNext = plain(C.GT_OP_CONV_NEXT)
)

// MostTaps is the most taps that a convolution can have.
const MostTaps = C.GT_CONV_MAX
