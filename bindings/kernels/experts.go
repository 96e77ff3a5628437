package kernels

// #include "experts.inc.h"
import "C"

// ExpertsConstants are those of OpExperts and OpExpertsT.
type ExpertsConstants struct {
	Scale  float64 // factor of the product
	Scale2 float64 // factor of the second pair's product
	Acc    bool    // add to what is there
}

// ExpertsOuterConstants are those of OpExpertsOuter.
type ExpertsOuterConstants struct {
	Scale float64
	Fast  bool // BF16 products where the level has them
}

// Products of rows, sorted by expert, each with its expert's matrix.
var (
	OpExpertsPack     = plain(C.GT_OP_EXPERTS_PACK)
	OpExperts         = kernel[ExpertsConstants, C.gt_experts_constants](C.GT_OP_EXPERTS)
	OpExpertsT        = kernel[ExpertsConstants, C.gt_experts_constants](C.GT_OP_EXPERTS_T)
	OpExpertsOuter    = kernel[ExpertsOuterConstants, C.gt_experts_outer_constants](C.GT_OP_EXPERTS_OUTER)
	OpExpertsBiasGrad = plain(C.GT_OP_EXPERTS_BIAS_GRAD)
)
