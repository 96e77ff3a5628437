// Rows multiplied by vectors, number by number, and the norms by which DoRA divides.
//
// GT_OP_SCALE       a0 out y [n,R] = x∘v∘u + b; a1 x [n,R]; a2 v [n]; a3 u [n] or absent: 1; a4 b [n] or absent: 0.
//                   With acc. a0 may be a1.
// GT_OP_SCALE_GRAD  a0 inout dv [n] += u∘Σ_rows x∘dy; a1 x [n,R]; a2 dy [n,R]; a3 u [n] or absent: 1.
// GT_OP_PAIR_NORM   a0 out u [N]: 1/‖W_o + s·(BA)_o‖ of each row o, 0 for a row of zeros; a1 the rows' ‖W_o‖ [N]; a2
//                   W A [N,r]: row k is W times A's row k; a3 B [r,N]; a4 A Aᵀ B [r,N].
#ifndef GT_SCALE_INC_H
#define GT_SCALE_INC_H

#include "kernels.h"

typedef struct gt_scale_constants {
    bool acc;
} gt_scale_constants;

typedef struct gt_pair_norm_constants {
    double scale; // s
} gt_pair_norm_constants;

#ifdef GT_KERNELS

static void gt_k_scale(const gt_call * c, int ith, int nth) {
    const bool    acc = GT_CONSTANTS(scale, c).acc;
    const int64_t ne0 = c->a[0].ne0;
    const float * v = c->a[2].data, *u = c->a[3].data, *b = c->a[4].data;
    GT_EACH_ROW(&c->a[0], {
        float *       y = gt_arg_row(&c->a[0], r);
        const float * x = gt_arg_row(&c->a[1], r);
        GT_EACH(ne0, {
            gt_vf to = GT_LD(x) * GT_LD(v);
            if (u) to *= GT_LD(u);
            if (b) to += GT_LD(b);
            if (acc) to += GT_LD(y);
            GT_ST(y, to);
        });
    });
}

// Threads share the columns, as those of biases do.
static void gt_k_scale_grad(const gt_call * c, int ith, int nth) {
    gt_moments m[GT_GRAD_ROWS];
    for (int i = 0; i < GT_GRAD_ROWS; i++) m[i] = (gt_moments){0, 1};
    int64_t lo, hi, rows = c->a[1].ne1;
    gt_share(c->a[0].ne0, 16, ith, nth, &lo, &hi);
    for (int64_t r = 0; r < rows && lo < hi; r += GT_GRAD_ROWS) {
        gt_columns_grad(c->a[0].data, NULL, c->a[3].data, &c->a[1], &c->a[2], m, r,
                        r + GT_GRAD_ROWS < rows ? r + GT_GRAD_ROWS : rows, lo, hi);
    }
}

// ‖W_o + s·(BA)_o‖² = ‖W_o‖² + Σ_k B_ok·(2s·W_o·A_k + s²·(A Aᵀ B_o)_k).
static void gt_k_pair_norm(const gt_call * c, int ith, int nth) {
    const double  s = GT_CONSTANTS(pair_norm, c).scale;
    const float * w = c->a[1].data;
    float *       u = c->a[0].data;
    int64_t lo, hi, rank = c->a[3].ne0;
    gt_share(c->a[0].ne0, 16, ith, nth, &lo, &hi);
    for (int64_t o = lo; o < hi; o++) {
        const float * b = gt_arg_row(&c->a[3], o), *h = gt_arg_row(&c->a[4], o);
        double        sum = (double) w[o] * w[o];
        for (int64_t k = 0; k < rank; k++)
            sum += b[k] * (2 * s * gt_arg_row(&c->a[2], k)[o] + s * s * h[k]);
        u[o] = sum > 0 ? (float) (1 / sqrt(sum)) : 0;
    }
}

#endif

#ifdef GT_CHECKS

static int gt_vector_or_absent(const gt_arg * a, int64_t n) { return !a->data || gt_is_vector(a, n); }

const char * gt_check_scale(const gt_call * c) {
    const int64_t n = c->a[0].ne0;
    if (!gt_is_vector(&c->a[2], n)) return "scale: the factors are not f32 [n]";
    if (!gt_vector_or_absent(&c->a[3], n)) return "scale: the second factors are not f32 [n]";
    if (!gt_vector_or_absent(&c->a[4], n)) return "scale: the bias is not f32 [n]";
    for (int i = 2; i <= 4; i++) {
        if (!gt_apart(&c->a[0], &c->a[i])) return "scale: the output overlaps a vector";
    }
    if (GT_CONSTANTS(scale, c).acc && !gt_apart(&c->a[0], &c->a[1]))
        return "scale: an output added to cannot be the input";
    return gt_inputs_like(c, 1, 1);
}

const char * gt_check_scale_grad(const gt_call * c) {
    const gt_arg * x = &c->a[1];
    if (!gt_is_f32(x, x->ne0, x->ne1) || !gt_is_like(&c->a[2], x))
        return "scale: input and gradient are not f32 of one shape";
    if (!gt_is_vector(&c->a[0], x->ne0)) return "scale: the factors' gradient is not f32 [n]";
    if (!gt_vector_or_absent(&c->a[3], x->ne0)) return "scale: the second factors are not f32 [n]";
    return gt_all_apart(c, 0) ? NULL : "scale: the factors' gradient overlaps another argument";
}

const char * gt_check_pair_norm(const gt_call * c) {
    const int64_t n = c->a[0].ne0, rank = c->a[3].ne0;
    if (!isfinite(GT_CONSTANTS(pair_norm, c).scale)) return "pair_norm: the scale is not finite";
    if (!gt_is_vector(&c->a[0], n) || !gt_is_vector(&c->a[1], n)) return "pair_norm: the norms are not f32 [N]";
    if (!gt_is_f32(&c->a[2], n, rank)) return "pair_norm: the products with A are not f32 [N,r]";
    if (!gt_is_f32(&c->a[3], rank, n) || !gt_is_like(&c->a[4], &c->a[3])) return "pair_norm: B is not f32 [r,N]";
    return gt_all_apart(c, 0) ? NULL : "pair_norm: the output overlaps an input";
}

#endif

#endif
