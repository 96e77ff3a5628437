package kernels

// #include "head_top.inc.h"
// #include "head_draw.inc.h"
import "C"

// HeadConstants are those of the output head's operations.
type HeadConstants struct {
	Exact   bool    // F32 products
	Rest    bool    // the log-probability of all that is no target is wanted too
	Entropy bool    // the entropy is wanted too; not with Rest
	Scale   float64 // of the logits, above 0
	Cap     float64 // which logits stay within before they are scaled; 0: they may be any
}

// HeadTopConstants are those of OpHeadTop and OpHeadTopMerge.
type HeadTopConstants struct {
	Exact      bool    // F32 products
	Scale, Cap float64 // HeadConstants'
}

// HeadDrawConstants are those of OpHeadDraw and OpHeadDrawMerge.
type HeadDrawConstants struct {
	Exact  bool    // F32 products
	Greedy bool    // the likeliest is taken
	Scale  float64 // of the logits, above 0
	Cap    float64 // HeadConstants'
}

// The output head and the softmax, and their derivatives.
var (
	OpHead      = kernel[HeadConstants, C.gt_head_constants](C.GT_OP_HEAD)
	OpHeadMerge = kernel[HeadConstants, C.gt_head_constants](C.GT_OP_HEAD_MERGE)
	OpHeadBack  = kernel[HeadConstants, C.gt_head_constants](C.GT_OP_HEAD_BACK)
	OpHeadGradW = kernel[HeadConstants, C.gt_head_constants](C.GT_OP_HEAD_GRAD_W)

	OpHeadTop      = kernel[HeadTopConstants, C.gt_head_top_constants](C.GT_OP_HEAD_TOP)
	OpHeadTopMerge = kernel[HeadTopConstants, C.gt_head_top_constants](C.GT_OP_HEAD_TOP_MERGE)

	OpHeadDraw      = kernel[HeadDrawConstants, C.gt_head_draw_constants](C.GT_OP_HEAD_DRAW)
	OpHeadDrawMerge = kernel[HeadDrawConstants, C.gt_head_draw_constants](C.GT_OP_HEAD_DRAW_MERGE)
)

// HeadScratchBytes returns the size in bytes of the scratch that OpHead and OpHeadMerge need for at most c tokens and
// per numbers of each, a head [k, v], a second pair of rank r (0: none), if back, the mean rows, and the entropy if it
// is wanted.
func HeadScratchBytes(k, r, v, c, per int64, back, entropy bool) int64 {
	return int64(C.gt_head_scratch_bytes(C.int64_t(k), C.int64_t(r), C.int64_t(v), C.int64_t(c), C.int64_t(per),
		truth(back), truth(entropy)))
}

func truth(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

// HeadTopScratchBytes returns that of OpHeadTop and OpHeadTopMerge for the many largest logits of at most c tokens.
func HeadTopScratchBytes(v, c, many int64) int64 {
	return int64(C.gt_head_top_scratch_bytes(C.int64_t(v), C.int64_t(c), C.int64_t(many)))
}

// HeadDrawScratchBytes returns that of OpHeadDraw and OpHeadDrawMerge for at most c tokens, a head [k, v] and a second
// pair of rank r (0: none).
func HeadDrawScratchBytes(k, r, v, c int64) int64 {
	return int64(C.gt_head_draw_scratch_bytes(C.int64_t(k), C.int64_t(r), C.int64_t(v), C.int64_t(c)))
}

// HeadChunk returns the most tokens one OpHead call takes.
func HeadChunk() int64 { return int64(C.gt_head_chunk()) }
