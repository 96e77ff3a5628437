// Rows let through or not.
//
// GT_OP_GATE        a0 out: row t is a1's where on[t] is not 0, else 0.  a1 [K,T]; a2 on i32 [T,1]. a0 may be a1. A
//                   backward pass is the same call on the gradient.
#ifndef GT_GATE_INC_H
#define GT_GATE_INC_H

#include "kernels.h"

#ifdef GT_KERNELS

static void gt_k_gate(const gt_call * c, int ith, int nth) {
    const int32_t * on   = c->a[2].data;
    const size_t    size = (size_t) c->a[0].ne0 * sizeof(float);
    GT_EACH_ROW(&c->a[0], {
        float * y = gt_arg_row(&c->a[0], r);
        if (on[r]) {
            memmove(y, gt_arg_row(&c->a[1], r), size); // a row of a0 may be the same one of a1
        } else {
            memset(y, 0, size);
        }
    });
}

#endif

#ifdef GT_CHECKS

const char * gt_check_gate(const gt_call * c) {
    GT_TRY(gt_ids_fault(&c->a[2], c->a[0].ne1));
    if (!gt_apart(&c->a[0], &c->a[2])) return "gate: the output overlaps the marks";
    return gt_inputs_like(c, 1, 1);
}

#endif

#endif
