// Rows of tokens' experts: added up, weighed, and the bias of what is added up. Rows and choices are as in route.inc.h:
// at i32 [k,T] says which row a token's choice is.
//
// GT_OP_COMBINE      a0 out y [K,T] = Σ_j x[at[j,t]] (+ y if acc), in order of j; a1 x [K,R]; a2 at.
// GT_OP_WEIGH        a0 out y [K,R]: row at[j,t] = w[j,t]·x; a1 x [K,R]; a2 w [k,T]; a3 at. a0 may be a1.
// GT_OP_WEIGH_BACK   a0 out dx [K,R]; a1 out dw [k,T]; a2 x; a3 w; a4 at; a5 dy [K,R]. a0 may be a5.
// GT_OP_WEIGHED_BIAS a0 out y [N,T] = Σ_j w[j,t]·b[e] (+ y if acc) of the experts e chosen; a1 b [N,E]; a2 w [k,T]; a3
//                    chosen i32 [k,T].
// GT_OP_WEIGHED_BIAS_BACK a0 out dw [k,T]: dot products of b[e] and dy; a1 b [N,E]; a2 chosen; a3 dy [N,T].
// GT_OP_WEIGHED_BIAS_GRAD a0 inout db [N,E]: row e += w·dy; a1 w; a2 chosen; a3 dy.
#ifndef GT_COMBINE_INC_H
#define GT_COMBINE_INC_H

#include "kernels.h"

typedef struct gt_combine_constants {
    bool acc;
} gt_combine_constants;

typedef struct gt_weighed_bias_constants {
    bool acc;
} gt_weighed_bias_constants;

#ifdef GT_KERNELS

static void gt_k_combine(const gt_call * c, int ith, int nth) {
    const bool    acc = GT_CONSTANTS(combine, c).acc;
    const int64_t ne0 = c->a[0].ne0, k = c->a[2].ne0;
    GT_EACH_ROW(&c->a[0], {
        float *         y  = gt_arg_row(&c->a[0], r);
        const int32_t * at = gt_int_row(&c->a[2], r);
        GT_EACH(ne0, {
            gt_vf sum = acc ? GT_LD(y) : gt_splat(0);
            for (int64_t j = 0; j < k; j++) sum += GT_LD(gt_arg_row(&c->a[1], at[j]));
            GT_ST(y, sum);
        });
    });
}

static void gt_k_weigh(const gt_call * c, int ith, int nth) {
    const int64_t ne0 = c->a[0].ne0, k = c->a[2].ne0;
    GT_EACH_ROW(&c->a[2], {
        for (int64_t j = 0; j < k; j++) {
            const int32_t row = gt_int_row(&c->a[3], r)[j];
            const float   w   = gt_arg_row(&c->a[2], r)[j];
            float *       y   = gt_arg_row(&c->a[0], row);
            const float * x   = gt_arg_row(&c->a[1], row);
            GT_EACH(ne0, GT_ST(y, w * GT_LD(x)););
        }
    });
}

static void gt_k_weigh_back(const gt_call * c, int ith, int nth) {
    const int64_t ne0 = c->a[0].ne0, k = c->a[3].ne0;
    GT_EACH_ROW(&c->a[3], {
        for (int64_t j = 0; j < k; j++) {
            const int32_t row = gt_int_row(&c->a[4], r)[j];
            const float   w   = gt_arg_row(&c->a[3], r)[j];
            float *       dx  = gt_arg_row(&c->a[0], row);
            const float * x   = gt_arg_row(&c->a[2], row);
            const float * dy  = gt_arg_row(&c->a[5], row);
            gt_arg_row(&c->a[1], r)[j] = (float) GT_SUM(ne0, GT_LD(x) * GT_LD(dy));
            GT_EACH(ne0, GT_ST(dx, w * GT_LD(dy)););
        }
    });
}

static void gt_k_weighed_bias(const gt_call * c, int ith, int nth) {
    const bool    acc = GT_CONSTANTS(weighed_bias, c).acc;
    const int64_t ne0 = c->a[0].ne0, k = c->a[2].ne0;
    GT_EACH_ROW(&c->a[0], {
        float *         y = gt_arg_row(&c->a[0], r);
        const float *   w = gt_arg_row(&c->a[2], r);
        const int32_t * e = gt_int_row(&c->a[3], r);
        GT_EACH(ne0, {
            gt_vf sum = acc ? GT_LD(y) : gt_splat(0);
            for (int64_t j = 0; j < k; j++) sum += w[j] * GT_LD(gt_arg_row(&c->a[1], e[j]));
            GT_ST(y, sum);
        });
    });
}

static void gt_k_weighed_bias_back(const gt_call * c, int ith, int nth) {
    const int64_t ne0 = c->a[1].ne0, k = c->a[0].ne0;
    GT_EACH_ROW(&c->a[0], {
        for (int64_t j = 0; j < k; j++) {
            const float * b  = gt_arg_row(&c->a[1], gt_int_row(&c->a[2], r)[j]);
            const float * dy = gt_arg_row(&c->a[3], r);
            gt_arg_row(&c->a[0], r)[j] = (float) GT_SUM(ne0, GT_LD(b) * GT_LD(dy));
        }
    });
}

// Threads share the columns, so that an expert's tokens are added in their order.
static void gt_k_weighed_bias_grad(const gt_call * c, int ith, int nth) {
    int64_t lo, hi, k = c->a[1].ne0;
    gt_share(c->a[0].ne0, 16, ith, nth, &lo, &hi);
    for (int64_t t = 0; t < c->a[1].ne1 && lo < hi; t++) {
        const float * dy = gt_arg_row(&c->a[3], t) + lo;
        for (int64_t j = 0; j < k; j++) {
            float *     db = gt_arg_row(&c->a[0], gt_int_row(&c->a[2], t)[j]) + lo;
            const float w  = gt_arg_row(&c->a[1], t)[j];
            GT_EACH(hi - lo, GT_ST(db, GT_LD(db) + w * GT_LD(dy)););
        }
    }
}

#endif

#ifdef GT_CHECKS

// rows_of_fault looks at the rows x [K,R] of the choices at [k,T].
static const char * rows_of_fault(const gt_arg * x, const gt_arg * at) {
    if (at->ne0 < 1 || !gt_is_matrix(at, GT_I32, at->ne0, at->ne1)) return "the rows of the choices are not i32 [k,T]";
    return gt_f32_fault(x, x->ne0, at->ne0 * at->ne1);
}

const char * gt_check_combine(const gt_call * c) {
    GT_TRY(rows_of_fault(&c->a[1], &c->a[2]));
    GT_TRY(gt_f32_fault(&c->a[0], c->a[1].ne0, c->a[2].ne1));
    return gt_outputs_fault(c, 1);
}

const char * gt_check_weigh(const gt_call * c) {
    GT_TRY(rows_of_fault(&c->a[1], &c->a[3]));
    GT_TRY(gt_f32_fault(&c->a[2], c->a[3].ne0, c->a[3].ne1));
    if (!gt_apart(&c->a[0], &c->a[2]) || !gt_apart(&c->a[0], &c->a[3])) return "an output overlaps another argument";
    return gt_inputs_like(c, 1, 1);
}

const char * gt_check_weigh_back(const gt_call * c) {
    const gt_arg * dx = &c->a[0], *x = &c->a[2], *at = &c->a[4];
    GT_TRY(rows_of_fault(x, at));
    GT_TRY(gt_f32_fault(&c->a[1], at->ne0, at->ne1));
    GT_TRY(gt_f32_fault(&c->a[3], at->ne0, at->ne1));
    if (!gt_is_like(&c->a[5], x) || !gt_is_like(dx, x)) return "the arguments' sizes do not fit together";
    for (int i = 1; i < 5; i++) {
        if (!gt_apart(dx, &c->a[i])) return "an output overlaps another argument";
    }
    if (!gt_same_or_apart(dx, &c->a[5])) return "the output overlaps a part of an input";
    return gt_outputs_fault(c, 2);
}

static const char * bias_rows_fault(const gt_arg * b, const gt_arg * w, const gt_arg * chosen, const gt_arg * y) {
    GT_TRY(gt_choice_fault(chosen, b->ne1));
    GT_TRY(gt_f32_fault(b, b->ne0, b->ne1));
    GT_TRY(gt_f32_fault(w, chosen->ne0, chosen->ne1));
    return gt_f32_fault(y, b->ne0, chosen->ne1);
}

const char * gt_check_weighed_bias(const gt_call * c) {
    GT_TRY(bias_rows_fault(&c->a[1], &c->a[2], &c->a[3], &c->a[0]));
    return gt_outputs_fault(c, 1);
}

const char * gt_check_weighed_bias_back(const gt_call * c) {
    GT_TRY(bias_rows_fault(&c->a[1], &c->a[0], &c->a[2], &c->a[3]));
    return gt_outputs_fault(c, 1);
}

const char * gt_check_weighed_bias_grad(const gt_call * c) {
    GT_TRY(bias_rows_fault(&c->a[0], &c->a[1], &c->a[2], &c->a[3]));
    return gt_outputs_fault(c, 1);
}

#endif

#endif
