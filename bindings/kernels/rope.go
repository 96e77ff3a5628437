package kernels

// #include "rope.inc.h"
import "C"

// RopeConstants are those of OpRope, named as in llama.cpp.
type RopeConstants struct {
	FreqBase, FreqScale, ExtFactor, AttnFactor, BetaFast, BetaSlow float64
	Temp                                                           float64 // 0: none
	NHead                                                          int64
	D                                                              int64 // a head's length
	NRot                                                           int64 // rotated numbers of a head
	NCtxOrig                                                       int64
	TempLen                                                        int64 // positions
	Neox                                                           bool  // pairs are halves, not neighbours
	Inverse                                                        bool  // rotate back
}

// OpRope rotates heads by their tokens' positions.
var OpRope = kernel[RopeConstants, C.gt_rope_constants](C.GT_OP_ROPE)
