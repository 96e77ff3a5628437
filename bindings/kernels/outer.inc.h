// The gradient of a matrix.
//
// GT_OP_OUTER dW = scale·Σ_t dy[n,t]·x[k,t] (+ dW if acc). a0 dW [K,N]; a1 x [K,T]; a2 dy [N,T]. fast: BF16 products
//                   where the level has them.
#ifndef GT_OUTER_INC_H
#define GT_OUTER_INC_H

#include "kernels.h"

typedef struct gt_outer_constants {
    double scale;
    bool   acc, fast;
} gt_outer_constants;

#ifdef GT_KERNELS

// dW [K,N] is a product whose tokens are the N outputs and whose reduction is over the tokens: lanes run along K
// straight through the rows of x.
static void gt_k_outer(const gt_call * c, int ith, int nth) {
    const gt_outer_constants k = GT_CONSTANTS(outer, c);
    const gt_arg * x = &c->a[1], *dy = &c->a[2];
    gt_product     p = gt_product_of(&c->a[0], k.acc);
    p.n_terms        = 1;
    p.term[0]        = (gt_term){{GT_A_COLS, dy->data, dy->nb1, NULL}, {gt_type_of(x->type), x->data, x->nb1, 0},
                                 x->ne1, GT_HAS_BF16 && k.fast ? GT_FORMAT_BF16 : GT_FORMAT_F32, (float) k.scale};
    gt_multiply_share(&p, ith, nth);
}

#endif

#ifdef GT_CHECKS

const char * gt_check_outer(const gt_call * c) {
    int64_t t = c->a[1].ne1;
    GT_TRY(gt_f32_fault(&c->a[0], c->a[1].ne0, c->a[2].ne0));
    GT_TRY(gt_f32_fault(&c->a[1], c->a[1].ne0, t));
    GT_TRY(gt_f32_fault(&c->a[2], c->a[2].ne0, t));
    return gt_outputs_fault(c, 1);
}

#endif

#endif
