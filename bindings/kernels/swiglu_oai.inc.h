// The gated activation of gpt-oss (ggml's GGML_GLU_OP_SWIGLU_OAI): with x = min(g, limit) and y = u within ±limit,
// x·σ(alpha·x)·(y + 1).
//
// GT_OP_SWIGLU_OAI      a0 out of a1 g and a2 u. a0 may be either.
// GT_OP_SWIGLU_OAI_BACK a0 out dg; a1 out du; a2 g; a3 u; a4 dout. Beyond a bound the derivative is 0, at it what it is
//                       inside (as PyTorch's clamp has it).
#ifndef GT_SWIGLU_OAI_INC_H
#define GT_SWIGLU_OAI_INC_H

#include "swiglu.inc.h"

typedef struct gt_swiglu_oai_constants {
    double alpha; // of the sigmoid's argument
    double limit; // above 0
} gt_swiglu_oai_constants;

#ifdef GT_KERNELS

// gt_at_most and gt_at_least bound x; no number stays none.
GT_INLINE gt_vf gt_at_most(gt_vf x, float most) { return gt_select(x > most, gt_splat(most), x); }
GT_INLINE gt_vf gt_at_least(gt_vf x, float least) { return gt_select(x < least, gt_splat(least), x); }

static void gt_k_swiglu_oai(const gt_call * c, int ith, int nth) {
    const gt_swiglu_oai_constants k     = GT_CONSTANTS(swiglu_oai, c);
    const float                   alpha = (float) k.alpha, limit = (float) k.limit;
    GT_EACH_ROW(&c->a[0], {
        float *       out = gt_arg_row(&c->a[0], r);
        const float * g   = gt_arg_row(&c->a[1], r);
        const float * u   = gt_arg_row(&c->a[2], r);
        GT_EACH(c->a[0].ne0, {
            const gt_vf x = gt_at_most(GT_LD(g), limit), y = gt_at_least(gt_at_most(GT_LD(u), limit), -limit);
            GT_ST(out, x * gt_sigmoid(alpha * x) * (y + 1.0f));
        });
    });
}

// (x·σ(αx))' = σ·(1 + αx·(1 − σ)). Far below 0, where σ is 0, αx may not become infinite.
static void gt_k_swiglu_oai_back(const gt_call * c, int ith, int nth) {
    const gt_swiglu_oai_constants k     = GT_CONSTANTS(swiglu_oai, c);
    const float                   alpha = (float) k.alpha, limit = (float) k.limit;
    GT_EACH_ROW(&c->a[0], {
        float *       dg   = gt_arg_row(&c->a[0], r);
        float *       du   = gt_arg_row(&c->a[1], r);
        const float * g    = gt_arg_row(&c->a[2], r);
        const float * u    = gt_arg_row(&c->a[3], r);
        const float * dout = gt_arg_row(&c->a[4], r);
        GT_EACH(c->a[0].ne0, {
            const gt_vf gate = GT_LD(g), up = GT_LD(u), d = GT_LD(dout), none = gt_splat(0);
            const gt_vf x = gt_at_most(gate, limit), y = gt_at_least(gt_at_most(up, limit), -limit);
            const gt_vf z = gt_at_least(alpha * x, -200.0f), s = gt_sigmoid(z);
            GT_ST(dg, gt_select(gate > limit, none, d * (y + 1.0f) * s * (1.0f + z * (1.0f - s))));
            GT_ST(du, gt_select((up > limit) | (up < -limit), none, d * x * s));
        });
    });
}

#endif

#ifdef GT_CHECKS

static const char * swiglu_oai_fault(const gt_call * c) {
    const gt_swiglu_oai_constants k = GT_CONSTANTS(swiglu_oai, c);
    if (!isfinite(k.alpha)) return "the factor of the sigmoid's argument is not finite";
    return isfinite(k.limit) && k.limit > 0 ? NULL : "the bound is no positive number";
}

const char * gt_check_swiglu_oai(const gt_call * c) {
    GT_TRY(swiglu_oai_fault(c));
    return gt_inputs_like(c, 1, 2);
}

const char * gt_check_swiglu_oai_back(const gt_call * c) {
    GT_TRY(swiglu_oai_fault(c));
    return gt_check_swiglu_back(c);
}

#endif

#endif
