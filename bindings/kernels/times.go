package kernels

// #include "times.inc.h"
import "C"

// TimesConstants are those of OpTimes.
type TimesConstants struct {
	Factor float64
}

// OpTimes multiplies by a constant.
var OpTimes = kernel[TimesConstants, C.gt_times_constants](C.GT_OP_TIMES)
