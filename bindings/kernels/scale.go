package kernels

// #include "scale.inc.h"
import "C"

// ScaleConstants are those of OpScale.
type ScaleConstants struct {
	Acc bool // add to what is there
}

// PairNormConstants are those of OpPairNorm.
type PairNormConstants struct {
	Scale float64 // of the pair
}

// Rows times vectors, the vectors' gradient, and the norms of weights with a pair beside them.
var (
	OpScale     = kernel[ScaleConstants, C.gt_scale_constants](C.GT_OP_SCALE)
	OpScaleGrad = plain(C.GT_OP_SCALE_GRAD)
	OpPairNorm  = kernel[PairNormConstants, C.gt_pair_norm_constants](C.GT_OP_PAIR_NORM)
)
