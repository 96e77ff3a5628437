package kernels

// #include "gelu.inc.h"
import "C"

// GELU and its derivative.
var (
	OpGELU     = plain(C.GT_OP_GELU)
	OpGELUBack = plain(C.GT_OP_GELU_BACK)
)
