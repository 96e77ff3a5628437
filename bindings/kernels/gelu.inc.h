// GELU, the tanh form.
//
// GT_OP_GELU        a0 out = gelu_tanh(a1).
// GT_OP_GELU_BACK   a0 out dx; a1 x; a2 dout.
#ifndef GT_GELU_INC_H
#define GT_GELU_INC_H

#include "kernels.h"

#ifdef GT_KERNELS

// gt_gelu_gate is the factor of x in the tanh form of GELU (Hendrycks and Gimpel 2016): ½(1 + tanh z) = σ(2z) with
// z = √(2/π)·(x + 0.044715·x³). *slope, if asked for, is d(2z)/dx. Beyond ±20 the gate is 0 or 1 to the last bit, so x
// is cut there and cannot overflow.
GT_INLINE gt_vf gt_gelu_gate(gt_vf x, gt_vf * slope) {
    const float c = 2 * 0.79788456080286535588f, a = 0.044715f;
    x        = gt_select(x > 20.0f, gt_splat(20), x);
    x        = gt_select(x < -20.0f, gt_splat(-20), x);
    gt_vf xx = x * x;
    if (slope) *slope = c * (1.0f + 3 * a * xx);
    return gt_sigmoid(c * x * (1.0f + a * xx));
}

static void gt_k_gelu(const gt_call * c, int ith, int nth) {
    GT_EACH_ROW(&c->a[0], {
        float *       y = gt_arg_row(&c->a[0], r);
        const float * x = gt_arg_row(&c->a[1], r);
        GT_EACH(c->a[0].ne0, {
            gt_vf v = GT_LD(x);
            GT_ST(y, v * gt_gelu_gate(v, NULL));
        });
    });
}

static void gt_k_gelu_back(const gt_call * c, int ith, int nth) {
    GT_EACH_ROW(&c->a[0], {
        float *       dx   = gt_arg_row(&c->a[0], r);
        const float * x    = gt_arg_row(&c->a[1], r);
        const float * dout = gt_arg_row(&c->a[2], r);
        GT_EACH(c->a[0].ne0, {
            gt_vf v = GT_LD(x), slope, s = gt_gelu_gate(v, &slope);
            GT_ST(dx, GT_LD(dout) * (s + v * s * (1.0f - s) * slope));
        });
    });
}

#endif

#ifdef GT_CHECKS

const char * gt_check_gelu(const gt_call * c) { return gt_inputs_like(c, 1, 1); }

const char * gt_check_gelu_back(const gt_call * c) { return gt_inputs_like(c, 1, 2); }

#endif

#endif
