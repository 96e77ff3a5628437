// The body of every kern_*.c: all kernels, static, and one exported table GT_TABLE of them.
#include "level.h"
#include "vec.h"

#include "unpack.inc.h"
#include "micro.inc.h"
#include "gemm.inc.h"
#include "each.inc.h"

#define GT_KERNELS
#include "ops.inc.h"

#define GT_ENTRY(op, name) [op] = gt_k_##name,

const gt_table GT_TABLE = {
    .run          = {GT_OPS(GT_ENTRY)},
    .packed_bytes = gt_k_packed_bytes,
    .packed_format = GT_PACKED_FORMAT,
};
