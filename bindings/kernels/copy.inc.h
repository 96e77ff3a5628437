// Copies and zeroes.
//
// GT_OP_COPY        a0 out [n,T] = a1 [n,T] (rows of either may be slices of wider rows), or added to it if acc.
// GT_OP_ZERO        a0 out = 0.
#ifndef GT_COPY_INC_H
#define GT_COPY_INC_H

#include "kernels.h"

typedef struct gt_copy_constants {
    bool acc;
} gt_copy_constants;

#ifdef GT_KERNELS

static void gt_k_copy(const gt_call * c, int ith, int nth) {
    const int64_t ne0 = c->a[0].ne0;
    const bool    acc = GT_CONSTANTS(copy, c).acc;
    GT_EACH_ROW(&c->a[0], {
        float *       y = gt_arg_row(&c->a[0], r);
        const float * x = gt_arg_row(&c->a[1], r);
        if (acc) {
            GT_EACH(ne0, GT_ST(y, GT_LD(y) + GT_LD(x)););
        } else if (y != x) {
            memcpy(y, x, (size_t) ne0 * sizeof(float));
        }
    });
}

static void gt_k_zero(const gt_call * c, int ith, int nth) {
    GT_EACH_ROW(&c->a[0], memset(gt_arg_row(&c->a[0], r), 0, (size_t) c->a[0].ne0 * sizeof(float)););
}

#endif

#ifdef GT_CHECKS

const char * gt_check_copy(const gt_call * c) { return gt_inputs_like(c, 1, 1); }

const char * gt_check_zero(const gt_call * c) { return gt_inputs_like(c, 1, 0); }

#endif

#endif
