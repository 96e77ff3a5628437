// Operations of gemm_ops.inc.h and gemm_head.inc.h.
#define GT_OPS_GEMM(X)            \
    X(GT_OP_PACK, pack)           \
    X(GT_OP_LINEAR, linear)       \
    X(GT_OP_LINEAR_T, linear_t)   \
    X(GT_OP_OUTER, outer)         \
    X(GT_OP_HEAD, head)           \
    X(GT_OP_HEAD_MERGE, head_merge) \
    X(GT_OP_HEAD_BACK, head_back) \
    X(GT_OP_HEAD_GRAD_W, head_grad_w) \
    X(GT_OP_ROWS, rows)           \
    X(GT_OP_ROWS_ADD, rows_add)
