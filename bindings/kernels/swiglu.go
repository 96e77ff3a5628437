package kernels

// #include "swiglu.inc.h"
import "C"

// SwiGLU and its derivative.
var (
	OpSwiGLU     = plain(C.GT_OP_SWIGLU)
	OpSwiGLUBack = plain(C.GT_OP_SWIGLU_BACK)
)
