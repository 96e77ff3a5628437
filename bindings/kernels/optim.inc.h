// The optimizer's share of a step: gradients' squares and AdamW's update, in F64.
//
// GT_OP_ADAMW       One update of AdamW (Loshchilov and Hutter 2019, algorithm 2), computed in F64: with g = scale·a3,
//                   m = beta1·m + (1−beta1)·g, v = beta2·v + (1−beta2)·g², x = keep·x − rate·m/(√v/correct2 + eps).
//                   a0 inout x [n,R] (master.inc.h); a1 inout m; a2 inout v; a3 gradient; a4 f64 [7,1], a
//                   gt_adamw_constants; a5 x's key or absent; a6 out [1,R]: 0, or no number if one of the row's is not
//                   finite after.
// GT_OP_SQUARES     a0 out f64 [1,R]: each row's Σx².  a1 x [n,R].
#ifndef GT_OPTIM_INC_H
#define GT_OPTIM_INC_H

#include "kernels.h"

// What changes from step to step, in memory.
typedef struct gt_adamw_constants {
    double scale, beta1, beta2, keep, rate, correct2, eps;
} gt_adamw_constants;

#ifdef GT_KERNELS

// One machine word of doubles, and as many floats.
enum { GT_DL = GT_VL / 2 };
typedef double gt_vd __attribute__((vector_size(GT_VBYTES)));
typedef float  gt_hf __attribute__((vector_size(GT_VBYTES / 2)));
typedef float  gt_hfm __attribute__((vector_size(GT_VBYTES / 2), aligned(4), may_alias));

GT_INLINE gt_vd gt_load_d(const float * p) { return __builtin_convertvector((gt_hf) * (const gt_hfm *) p, gt_vd); }
GT_INLINE gt_hf gt_store_d(float * p, gt_vd v) {
    gt_hf f          = __builtin_convertvector(v, gt_hf);
    *(gt_hfm *) p = f;
    return f;
}

GT_INLINE gt_vd gt_sqrt_d(gt_vd v) {
#if GT_HAS_AVX512
    return (gt_vd) _mm512_sqrt_pd((__m512d) v);
#elif GT_HAS_AVX2
    return (gt_vd) _mm256_sqrt_pd((__m256d) v);
#else
    return (gt_vd){sqrt(v[0]), sqrt(v[1])};
#endif
}

// gt_adam_word updates GT_DL numbers and returns zero in their lanes, or no number where one is not finite.
GT_INLINE gt_hf gt_adam_word(float * x, float * m, float * v, const float * grad, const gt_adamw_constants * k) {
    const gt_vd g = gt_load_d(grad) * k->scale;
    const gt_vd a = gt_load_d(m) * k->beta1 + g * (1 - k->beta1);
    const gt_vd b = gt_load_d(v) * k->beta2 + g * g * (1 - k->beta2);
    gt_store_d(m, a);
    gt_store_d(v, b);
    const gt_hf y = gt_store_d(x, gt_load_d(x) * k->keep - a * k->rate / (gt_sqrt_d(b) / k->correct2 + k->eps));
    return y - y;
}

// gt_adam_row updates n numbers and returns zero, or no number where one is not finite.
static float gt_adam_row(float * x, float * m, float * v, const float * g, int64_t n, const gt_adamw_constants * k) {
    gt_hf   bad = {0};
    int64_t i   = 0;
    for (; i + GT_DL <= n; i += GT_DL) bad += gt_adam_word(x + i, m + i, v + i, g + i, k);
    if (i < n) {
        const size_t size = (size_t) (n - i) * sizeof(float);
        float        t[4][GT_DL] = {{0}};
        memcpy(t[0], x + i, size), memcpy(t[1], m + i, size), memcpy(t[2], v + i, size), memcpy(t[3], g + i, size);
        bad += gt_adam_word(t[0], t[1], t[2], t[3], k);
        memcpy(x + i, t[0], size), memcpy(m + i, t[1], size), memcpy(v + i, t[2], size);
    }
    float spoiled = 0;
    for (int l = 0; l < GT_DL; l++) spoiled += bad[l];
    return spoiled;
}

static void gt_k_adamw(const gt_call * c, int ith, int nth) {
    const gt_adamw_constants k = *(const gt_adamw_constants *) c->a[4].data;
    const int64_t n = c->a[0].ne0, step = gt_master_step(&c->a[0]);
    GT_EACH_ROW(&c->a[0], {
        float * m = gt_arg_row(&c->a[1], r), * v = gt_arg_row(&c->a[2], r);
        float   wide[GT_MASTER_PIECE], spoiled = 0;
        for (int64_t at = 0; at < n; at += step) {
            const int64_t some = n - at < step ? n - at : step;
            float *       x    = gt_master(&c->a[0], r, at, some, wide);
            spoiled += gt_adam_row(x, m + at, v + at, gt_arg_row(&c->a[3], r) + at, some, &k);
            spoiled += gt_master_store(&c->a[0], &c->a[5], r, at, some, x);
        }
        gt_arg_row(&c->a[6], r)[0] = spoiled;
    });
}

static void gt_k_squares(const gt_call * c, int ith, int nth) {
    const int64_t n = c->a[1].ne0;
    GT_EACH_ROW(&c->a[1], {
        const float * x      = gt_arg_row(&c->a[1], r);
        gt_vd         sum[4] = {{0}}; // hide the addition's latency
        int64_t       i      = 0;
        for (; i + 4 * GT_DL <= n; i += 4 * GT_DL) {
            for (int k = 0; k < 4; k++) {
                const gt_vd v = gt_load_d(x + i + k * GT_DL);
                sum[k] += v * v;
            }
        }
        const gt_vd all   = (sum[0] + sum[1]) + (sum[2] + sum[3]);
        double      total = 0;
        for (int l = 0; l < GT_DL; l++) total += all[l];
        for (; i < n; i++) total += (double) x[i] * (double) x[i];
        memcpy(gt_arg_row(&c->a[0], r), &total, sizeof total);
    });
}

#endif

#ifdef GT_CHECKS

const char * gt_check_adamw(const gt_call * c) {
    for (int i = 1; i < 4; i++) {
        if (!gt_is_like(&c->a[i], &c->a[0])) return "adamw: an argument is not f32 of the parameters' shape";
    }
    GT_TRY(gt_master_fault(&c->a[0], &c->a[5]));
    if (!gt_is_matrix(&c->a[4], GT_F64, sizeof(gt_adamw_constants) / sizeof(double), 1))
        return "adamw: the constants are not f64 [7,1]";
    if (!gt_is_f32(&c->a[6], 1, c->a[0].ne1)) return "adamw: the verdicts are not f32, one a row";
    for (int i = 0; i < 7; i++) {
        if (!gt_all_apart(c, i)) return "adamw: arguments overlap";
    }
    return NULL;
}

const char * gt_check_squares(const gt_call * c) {
    if (!gt_is_f32(&c->a[1], c->a[1].ne0, c->a[1].ne1)) return "squares: the numbers are not f32";
    if (!gt_is_matrix(&c->a[0], GT_F64, 1, c->a[1].ne1)) return "squares: the sums are not f64, one a row";
    return gt_apart(&c->a[0], &c->a[1]) ? NULL : "squares: the arguments overlap";
}

#endif

#endif
