// Operations of attention.inc.h.
#define GT_OPS_ATTENTION(X)
