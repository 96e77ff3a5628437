// The operations' checks, compiled once.
#include "args.h"

#define GT_DECLARE(op, name) const char * gt_check_##name(const gt_call * call);
GT_OPS(GT_DECLARE)

#define GT_CHECKS
#include "ops.inc.h"
