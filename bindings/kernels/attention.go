package kernels

// #include "attention.inc.h"
import "C"

// AttnConstants are those of attention and of its derivatives.
type AttnConstants struct {
	Scale         float64 // factor of the scores
	Cap           float64 // which they stay within; 0: they may be any
	NHead, NKV    int64
	D             int64 // a head's length
	Window        int64 // positions: how far back a token sees, itself included; 0: as far as there is
	Fast          bool  // BF16 products where the level has them
	Bidirectional bool  // a token sees the later ones of its segment too
}

// Attention over trees of tokens, and its derivatives.
var (
	OpAttn       = kernel[AttnConstants, C.gt_attn_constants](C.GT_OP_ATTN)
	OpAttnDelta  = kernel[AttnConstants, C.gt_attn_constants](C.GT_OP_ATTN_DELTA)
	OpAttnBackQ  = kernel[AttnConstants, C.gt_attn_constants](C.GT_OP_ATTN_BACK_Q)
	OpAttnBackKV = kernel[AttnConstants, C.gt_attn_constants](C.GT_OP_ATTN_BACK_KV)
)
