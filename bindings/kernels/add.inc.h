// Sums.
//
// GT_OP_ADD         a0 out = a1 + factor·a2. Same shapes; a0 may be a1.
#ifndef GT_ADD_INC_H
#define GT_ADD_INC_H

#include "kernels.h"

typedef struct gt_add_constants {
    double factor;
} gt_add_constants;

#ifdef GT_KERNELS

static void gt_k_add(const gt_call * c, int ith, int nth) {
    const gt_vf f = gt_splat((float) GT_CONSTANTS(add, c).factor);
    GT_EACH_ROW(&c->a[0], {
        float *       y = gt_arg_row(&c->a[0], r);
        const float * x = gt_arg_row(&c->a[1], r);
        const float * z = gt_arg_row(&c->a[2], r);
        GT_EACH(c->a[0].ne0, GT_ST(y, GT_LD(x) + f * GT_LD(z)););
    });
}

#endif

#ifdef GT_CHECKS

const char * gt_check_add(const gt_call * c) {
    if (!isfinite(GT_CONSTANTS(add, c).factor)) return "add: the factor is not finite";
    return gt_inputs_like(c, 1, 2);
}

#endif

#endif
