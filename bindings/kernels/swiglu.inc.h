// The gated activation of SwiGLU (Shazeer 2020).
//
// GT_OP_SWIGLU      a0 out = silu(a1)·a2.
// GT_OP_SWIGLU_BACK a0 out dg; a1 out du; a2 g; a3 u; a4 dout.
#ifndef GT_SWIGLU_INC_H
#define GT_SWIGLU_INC_H

#include "kernels.h"

#ifdef GT_KERNELS

static void gt_k_swiglu(const gt_call * c, int ith, int nth) {
    GT_EACH_ROW(&c->a[0], {
        float *       y = gt_arg_row(&c->a[0], r);
        const float * g = gt_arg_row(&c->a[1], r);
        const float * u = gt_arg_row(&c->a[2], r);
        GT_EACH(c->a[0].ne0, {
            gt_vf x = GT_LD(g);
            GT_ST(y, x * gt_sigmoid(x) * GT_LD(u));
        });
    });
}

// silu' = σ(g)·(1 + g·(1 − σ(g))).
static void gt_k_swiglu_back(const gt_call * c, int ith, int nth) {
    GT_EACH_ROW(&c->a[0], {
        float *       dg   = gt_arg_row(&c->a[0], r);
        float *       du   = gt_arg_row(&c->a[1], r);
        const float * g    = gt_arg_row(&c->a[2], r);
        const float * u    = gt_arg_row(&c->a[3], r);
        const float * dout = gt_arg_row(&c->a[4], r);
        GT_EACH(c->a[0].ne0, {
            gt_vf x = GT_LD(g), s = gt_sigmoid(x), d = GT_LD(dout), w = GT_LD(u);
            GT_ST(dg, d * w * s * (1.0f + x * (1.0f - s)));
            GT_ST(du, d * x * s);
        });
    });
}

#endif

#ifdef GT_CHECKS

const char * gt_check_swiglu(const gt_call * c) { return gt_inputs_like(c, 1, 2); }

const char * gt_check_swiglu_back(const gt_call * c) {
    if (!gt_is_like(&c->a[1], &c->a[0]) || !gt_apart(&c->a[0], &c->a[1]))
        return "swiglu: the two gradients overlap or differ in shape";
    for (int i = 2; i <= 4; i++) {
        if (!gt_same_or_apart(&c->a[1], &c->a[i])) return "swiglu: the output overlaps a part of an input";
    }
    return gt_inputs_like(c, 2, 4);
}

#endif

#endif
