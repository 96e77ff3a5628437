package kernels

// #include "geglu.inc.h"
import "C"

// GEGLU, of the tanh form of GELU, and its derivative.
var (
	OpGEGLU     = plain(C.GT_OP_GEGLU)
	OpGEGLUBack = plain(C.GT_OP_GEGLU_BACK)
)
