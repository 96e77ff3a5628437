// Products of activations with a weight, and with its transpose.
//
// GT_OP_LINEAR y = scale·W x + bias (+ y if acc). a0 y [N,T]; a1 x [K,T] f32 (exact) or packed (fast); a2 W [K,N];
//                   a3 bias [N] or absent.
//                   A second pair, for an adapter's s·B(Ax) in the same pass over y: a4 x2 [r,T], a5 W2 [r,N], both or
//                   neither; adds scale2·W2 x2.
// GT_OP_LINEAR_T dx = scale·Wᵀ dy (+ dx if acc). a0 dx [K,T]; a1 dy [N,T] f32 (exact) or packed (fast); a2 W [K,N].
//                   A second pair: a4 dy2 [r,T], a5 W2 [K,r]; adds scale2·W2ᵀ dy2.
#ifndef GT_LINEAR_INC_H
#define GT_LINEAR_INC_H

#include "kernels.h"

typedef struct gt_linear_constants {
    double scale, scale2;
    bool   acc;
} gt_linear_constants;

#ifdef GT_KERNELS

// gt_term_of builds the term f·(activations x) (matrix w).
static gt_term gt_term_of(const gt_arg * x, const gt_arg * w, int rows_are_outputs, float f) {
    gt_term e = {.reduction = x->ne0, .f = f};
    e.a = (gt_acts){GT_A_ROWS, x->data, x->nb1, NULL};
    if (x->type == GT_PACKED) {
        const int64_t floats = gt_packed_floats(x->ne0);
        e.a      = (gt_acts){GT_A_PACKED, x->data, floats, (const float *) x->data + floats * x->ne1};
        e.format = GT_PACKED_FORMAT;
    }
    e.b = (gt_weights){gt_type_of(w->type), w->data, w->nb1, rows_are_outputs};
    return e;
}

static gt_product gt_product_of(const gt_arg * y, int acc) {
    return (gt_product){.c = y->data, .ldc = y->nb1 / 4, .tokens = y->ne1, .cols = y->ne0, .acc = acc};
}

static void gt_linear(const gt_call * c, int rows_are_outputs, int ith, int nth) {
    const gt_linear_constants k = GT_CONSTANTS(linear, c);
    gt_product p = gt_product_of(&c->a[0], k.acc);
    p.bias       = rows_are_outputs ? c->a[3].data : NULL;
    p.n_terms    = c->a[5].data ? 2 : 1;
    p.term[0]    = gt_term_of(&c->a[1], &c->a[2], rows_are_outputs, (float) k.scale);
    if (p.n_terms == 2) p.term[1] = gt_term_of(&c->a[4], &c->a[5], rows_are_outputs, (float) k.scale2);
    gt_multiply_share(&p, ith, nth);
}

static void gt_k_linear(const gt_call * c, int ith, int nth) { gt_linear(c, 1, ith, nth); }

static void gt_k_linear_t(const gt_call * c, int ith, int nth) { gt_linear(c, 0, ith, nth); }

#endif

#ifdef GT_CHECKS

static const char * linear_fault(const gt_call * c, int transposed) {
    const gt_arg * w = &c->a[2];
    int64_t        t = c->a[0].ne1, in = transposed ? w->ne1 : w->ne0, out = transposed ? w->ne0 : w->ne1;
    GT_TRY(gt_weights_fault(w));
    GT_TRY(gt_f32_fault(&c->a[0], out, t));
    GT_TRY(gt_acts_fault(&c->a[1], in, t));
    GT_TRY(gt_outputs_fault(c, 1));
    if (c->a[3].data) GT_TRY(transposed ? "the transposed product takes no bias" : gt_f32_fault(&c->a[3], out, 1));
    const gt_arg * w2 = &c->a[5];
    if (!w2->data) return c->a[4].data ? "the second pair's matrix is absent" : NULL;
    GT_TRY(gt_weights_fault(w2));
    if ((transposed ? w2->ne0 : w2->ne1) != out) return "the second pair's sizes do not fit";
    GT_TRY(gt_acts_fault(&c->a[4], transposed ? w2->ne1 : w2->ne0, t));
    return NULL;
}

const char * gt_check_linear(const gt_call * c) { return linear_fault(c, 0); }

const char * gt_check_linear_t(const gt_call * c) { return linear_fault(c, 1); }

#endif

#endif
