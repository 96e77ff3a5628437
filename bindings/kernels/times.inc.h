// Products with a constant.
//
// GT_OP_TIMES a0 out = factor·s·a1; a2 s f32 [1] or absent: 1. a0 may be a1. A backward pass is the same call on the
// gradient.
#ifndef GT_TIMES_INC_H
#define GT_TIMES_INC_H

#include "kernels.h"

typedef struct gt_times_constants {
    double factor;
} gt_times_constants;

#ifdef GT_KERNELS

static void gt_k_times(const gt_call * c, int ith, int nth) {
    const float * s = c->a[2].data;
    const gt_vf   f = gt_splat((float) GT_CONSTANTS(times, c).factor * (s ? s[0] : 1));
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
    if (c->a[2].data) {
        if (!gt_is_vector(&c->a[2], 1)) return "times: the number is not one of f32";
        if (!gt_apart(&c->a[0], &c->a[2])) return "times: the output overlaps the number";
    }
    return gt_inputs_like(c, 1, 1);
}

#endif

#endif
