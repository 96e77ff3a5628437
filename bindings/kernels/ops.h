// The list of operations: X(enumerator, name). Each needs a kernel gt_k_<name> and a check gt_check_<name>; dispatch.c says
// where they live.
#ifndef GT_OPS_H
#define GT_OPS_H

#include "ops_attention.h"
#include "ops_gemm.h"
#include "ops_rows.h"

#define GT_OPS(X)    \
    GT_OPS_GEMM(X)   \
    GT_OPS_ATTENTION(X) \
    GT_OPS_ROWS(X)

#endif
