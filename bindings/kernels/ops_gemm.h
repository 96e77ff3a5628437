// Operations of gemm_*.inc.h.
#define GT_OPS_GEMM(X)
