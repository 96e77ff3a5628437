// Numbers kept within bounds (Gemma 2, arXiv 2408.00118, section 2).
//
// GT_OP_SOFTCAP      a0 out = cap·tanh(a1/cap). a0 may be a1.
// GT_OP_SOFTCAP_BACK a0 out dx; a1 x; a2 dout.
#ifndef GT_SOFTCAP_INC_H
#define GT_SOFTCAP_INC_H

#include "kernels.h"

typedef struct gt_softcap_constants {
    double cap; // above 0
} gt_softcap_constants;

#ifdef GT_KERNELS

// gt_softcap gives cap·tanh(x/cap); by is 1/cap.
GT_INLINE gt_vf gt_softcap(gt_vf x, float cap, float by) { return cap * gt_tanh(x * by); }

// gt_softcap_slope is its derivative, from the value y.
GT_INLINE gt_vf gt_softcap_slope(gt_vf y, float by) { return (1.0f - y * by) * (1.0f + y * by); }

static void gt_k_softcap(const gt_call * c, int ith, int nth) {
    const float cap = (float) GT_CONSTANTS(softcap, c).cap, by = 1 / cap;
    GT_EACH_ROW(&c->a[0], {
        float *       y = gt_arg_row(&c->a[0], r);
        const float * x = gt_arg_row(&c->a[1], r);
        GT_EACH(c->a[0].ne0, GT_ST(y, gt_softcap(GT_LD(x), cap, by)););
    });
}

static void gt_k_softcap_back(const gt_call * c, int ith, int nth) {
    const float by = 1 / (float) GT_CONSTANTS(softcap, c).cap;
    GT_EACH_ROW(&c->a[0], {
        float *       dx   = gt_arg_row(&c->a[0], r);
        const float * x    = gt_arg_row(&c->a[1], r);
        const float * dout = gt_arg_row(&c->a[2], r);
        GT_EACH(c->a[0].ne0, GT_ST(dx, GT_LD(dout) * gt_softcap_slope(gt_tanh(GT_LD(x) * by), 1)););
    });
}

#endif

#ifdef GT_CHECKS

// cap_fault refuses a bound that bounds nothing, or everything to 0.
static const char * cap_fault(double cap) {
    return isfinite(cap) && cap > 0 ? NULL : "the bound is no positive number";
}

const char * gt_check_softcap(const gt_call * c) {
    GT_TRY(cap_fault(GT_CONSTANTS(softcap, c).cap));
    return gt_inputs_like(c, 1, 1);
}

const char * gt_check_softcap_back(const gt_call * c) {
    GT_TRY(cap_fault(GT_CONSTANTS(softcap, c).cap));
    return gt_inputs_like(c, 1, 2);
}

#endif

#endif
