package kernels

// #include "combine.inc.h"
import "C"

// CombineConstants are those of OpCombine.
type CombineConstants struct {
	Acc bool // add to what is there
}

// WeighedBiasConstants are those of OpWeighedBias.
type WeighedBiasConstants struct {
	Acc bool // add to what is there
}

// Rows of tokens' experts: added up, weighed, and the bias of what is added up.
var (
	OpCombine         = kernel[CombineConstants, C.gt_combine_constants](C.GT_OP_COMBINE)
	OpWeigh           = plain(C.GT_OP_WEIGH)
	OpWeighBack       = plain(C.GT_OP_WEIGH_BACK)
	OpWeighedBias     = kernel[WeighedBiasConstants, C.gt_weighed_bias_constants](C.GT_OP_WEIGHED_BIAS)
	OpWeighedBiasBack = plain(C.GT_OP_WEIGHED_BIAS_BACK)
	OpWeighedBiasGrad = plain(C.GT_OP_WEIGHED_BIAS_GRAD)
)
