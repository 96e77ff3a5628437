// Operations of attention.inc.h.
#define GT_OPS_ATTENTION(X)            \
    X(GT_OP_ATTN, attn)                \
    X(GT_OP_ATTN_DELTA, attn_delta)    \
    X(GT_OP_ATTN_BACK_Q, attn_back_q)  \
    X(GT_OP_ATTN_BACK_KV, attn_back_kv)
