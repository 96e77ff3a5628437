package kernels

// #include "mean.inc.h"
import "C"

// Means of runs of rows, and their derivatives.
var (
	OpMean     = plain(C.GT_OP_MEAN)
	OpMeanBack = plain(C.GT_OP_MEAN_BACK)
)
