// The gated activation of GEGLU (Shazeer 2020), with the tanh form of GELU.
//
// GT_OP_GEGLU      a0 out = gelu_tanh(a1)·a2.
// GT_OP_GEGLU_BACK a0 out dg; a1 out du; a2 g; a3 u; a4 dout.
#ifndef GT_GEGLU_INC_H
#define GT_GEGLU_INC_H

#include "gelu.inc.h"
#include "swiglu.inc.h"

#ifdef GT_KERNELS

static void gt_k_geglu(const gt_call * c, int ith, int nth) {
    GT_EACH_ROW(&c->a[0], {
        float *       y = gt_arg_row(&c->a[0], r);
        const float * g = gt_arg_row(&c->a[1], r);
        const float * u = gt_arg_row(&c->a[2], r);
        GT_EACH(c->a[0].ne0, {
            gt_vf x = GT_LD(g);
            GT_ST(y, x * gt_gelu_gate(x, NULL) * GT_LD(u));
        });
    });
}

static void gt_k_geglu_back(const gt_call * c, int ith, int nth) {
    GT_EACH_ROW(&c->a[0], {
        float *       dg   = gt_arg_row(&c->a[0], r);
        float *       du   = gt_arg_row(&c->a[1], r);
        const float * g    = gt_arg_row(&c->a[2], r);
        const float * u    = gt_arg_row(&c->a[3], r);
        const float * dout = gt_arg_row(&c->a[4], r);
        GT_EACH(c->a[0].ne0, {
            gt_vf x = GT_LD(g), slope, s = gt_gelu_gate(x, &slope), d = GT_LD(dout), w = GT_LD(u);
            GT_ST(dg, d * w * (s + x * s * (1.0f - s) * slope));
            GT_ST(du, d * x * s);
        });
    });
}

#endif

#ifdef GT_CHECKS

const char * gt_check_geglu(const gt_call * c) { return gt_inputs_like(c, 1, 2); }

const char * gt_check_geglu_back(const gt_call * c) { return gt_check_swiglu_back(c); }

#endif

#endif
