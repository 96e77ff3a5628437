package kernels

// #include "attn_next.inc.h"
import "C"

// AttnConstants are those of attention and of its derivatives.
type AttnConstants struct {
	Scale         float64 // factor of the scores
	Cap           float64 // which they stay within; 0: they may be any
	Drop          float64 // probability that a probability is zeroed
	Stream        int64   // which mask of the key's, 0 to below 2^32
	NHead, NKV    int64
	D             int64 // a head's length
	Window        int64 // positions: how far a token sees, itself included; 0: as far as there is
	Fast          bool  // BF16 products where the level has them
	Bidirectional bool  // a token sees the later ones of its segment too
}

// Attention over trees of tokens, and its derivatives.
var (
	OpAttn       = kernel[AttnConstants, C.gt_attn_constants](C.GT_OP_ATTN)
	OpAttnDelta  = kernel[AttnConstants, C.gt_attn_constants](C.GT_OP_ATTN_DELTA)
	OpAttnBackQ  = kernel[AttnConstants, C.gt_attn_constants](C.GT_OP_ATTN_BACK_Q)
	OpAttnBackKV = kernel[AttnConstants, C.gt_attn_constants](C.GT_OP_ATTN_BACK_KV)

	OpAttnSinkGrad = kernel[AttnConstants, C.gt_attn_constants](C.GT_OP_ATTN_SINK_GRAD)

	// Attention of new tokens to what is kept of earlier ones.
	OpAttnKeep = kernel[AttnConstants, C.gt_attn_constants](C.GT_OP_ATTN_KEEP)
	OpAttnNext = kernel[AttnConstants, C.gt_attn_constants](C.GT_OP_ATTN_NEXT)
)

// KeptType is the type of the numbers that OpAttnKeep keeps, which loses none of what attention reads.
func KeptType(fast bool) Type {
	if fast && int(C.gt_packed_format()) == C.GT_FORMAT_BF16 {
		return BF16
	}
	return F32
}

// KeptPage is how many numbers a page of keys and values takes, and KeptTokens for how many tokens it has room, of nKV
// heads of d elements.
func KeptPage(d, nKV int64) int64 { return int64(C.gt_kv_page(C.int64_t(d), C.int64_t(nKV))) }

// KeptTokens is said beside KeptPage.
func KeptTokens(d int64) int64 { return int64(C.gt_kv_tokens(C.int64_t(d))) }
