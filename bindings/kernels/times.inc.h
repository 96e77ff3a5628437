// Products with a constant.
//
// GT_OP_TIMES a0 out = factor·a1. a0 may be a1. A backward pass is the same call on the gradient.
#ifndef GT_TIMES_INC_H
#define GT_TIMES_INC_H

#include "kernels.h"

typedef struct gt_times_constants {
    double factor;
} gt_times_constants;

#ifdef GT_KERNELS

static void gt_k_times(const gt_call * c, int ith, int nth) {
    const gt_vf f = gt_splat((float) GT_CONSTANTS(times, c).factor);
    GT_EACH_ROW(&c->a[0], {
        float *       y = gt_arg_row(&c->a[0], r);
        const float * x = gt_arg_row(&c->a[1], r);
        GT_EACH(c->a[0].ne0, GT_ST(y, f * GT_LD(x)););
    });
}

#endif

#ifdef GT_CHECKS

const char * gt_check_times(const gt_call * c) {
    if (!isfinite(GT_CONSTANTS(times, c).factor)) return "times: the factor is not finite";
    return gt_inputs_like(c, 1, 1);
}

#endif

#endif
