package kernels

// #include "swiglu_oai.inc.h"
import "C"

// SwiGLUOAIConstants are those of gpt-oss' gated activation and of its derivative.
type SwiGLUOAIConstants struct {
	Alpha float64 // factor of the sigmoid's argument
	Limit float64 // which the gate stays below and the other within; above 0
}

// gpt-oss' gated activation and its derivative.
var (
	OpSwiGLUOAI     = kernel[SwiGLUOAIConstants, C.gt_swiglu_oai_constants](C.GT_OP_SWIGLU_OAI)
	OpSwiGLUOAIBack = kernel[SwiGLUOAIConstants, C.gt_swiglu_oai_constants](C.GT_OP_SWIGLU_OAI_BACK)
)
