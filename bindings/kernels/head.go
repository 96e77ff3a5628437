package kernels

// #include "head.inc.h"
import "C"

// HeadConstants are those of the output head's operations, OpHeadBack apart.
type HeadConstants struct {
	Exact bool // F32 products
}

// The output head and the softmax, and their derivatives.
var (
	OpHead      = kernel[HeadConstants, C.gt_head_constants](C.GT_OP_HEAD)
	OpHeadMerge = kernel[HeadConstants, C.gt_head_constants](C.GT_OP_HEAD_MERGE)
	OpHeadBack  = plain(C.GT_OP_HEAD_BACK)
	OpHeadGradW = kernel[HeadConstants, C.gt_head_constants](C.GT_OP_HEAD_GRAD_W)
)

// HeadScratchBytes returns the size in bytes of the scratch that OpHead and OpHeadMerge need for at most c tokens, a
// head [k, v], a second pair of rank r (0: none) and, if back, the mean rows.
func HeadScratchBytes(k, r, v, c int64, back bool) int64 {
	var b C.int
	if back {
		b = 1
	}
	return int64(C.gt_head_scratch_bytes(C.int64_t(k), C.int64_t(r), C.int64_t(v), C.int64_t(c), b))
}

// HeadChunk returns the most tokens one OpHead call takes.
func HeadChunk() int64 { return int64(C.gt_head_chunk()) }
