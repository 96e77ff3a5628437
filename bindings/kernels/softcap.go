package kernels

// #include "softcap.inc.h"
import "C"

// SoftCapConstants are those of OpSoftCap and OpSoftCapBack.
type SoftCapConstants struct {
	Cap float64 // above 0
}

// Numbers kept within ±Cap, and the derivative.
var (
	OpSoftCap     = kernel[SoftCapConstants, C.gt_softcap_constants](C.GT_OP_SOFTCAP)
	OpSoftCapBack = kernel[SoftCapConstants, C.gt_softcap_constants](C.GT_OP_SOFTCAP_BACK)
)
