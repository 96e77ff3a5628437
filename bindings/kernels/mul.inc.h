// Products, number by number.
//
// GT_OP_MUL         a0 out = a1∘a2. Same shapes; a0 may be a1 or a2.
#ifndef GT_MUL_INC_H
#define GT_MUL_INC_H

#include "kernels.h"

#ifdef GT_KERNELS

static void gt_k_mul(const gt_call * c, int ith, int nth) {
    GT_EACH_ROW(&c->a[0], {
        float *       y = gt_arg_row(&c->a[0], r);
        const float * x = gt_arg_row(&c->a[1], r);
        const float * z = gt_arg_row(&c->a[2], r);
        GT_EACH(c->a[0].ne0, GT_ST(y, GT_LD(x) * GT_LD(z)););
    });
}

#endif

#ifdef GT_CHECKS

const char * gt_check_mul(const gt_call * c) { return gt_inputs_like(c, 1, 2); }

#endif

#endif
