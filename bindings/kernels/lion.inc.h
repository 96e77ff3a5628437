// Lion's update, in F64.
//
// GT_OP_LION        One update of Lion (Chen et al. 2023, algorithm 2), computed in F64: with g = scale·a2 and
//                   c = beta1·m + (1−beta1)·g, x = keep·x − rate·sign(c), m = beta2·m + (1−beta2)·g.
//                   a0 inout x [n,R] (master.inc.h); a1 inout m; a2 gradient; a3 f64 [5,1], a gt_lion_constants; a4
//                   x's key or absent; a5 out [1,R]: 0, or no number if one of the row's is not finite after.
#ifndef GT_LION_INC_H
#define GT_LION_INC_H

#include "kernels.h"

// What changes from step to step, in memory.
typedef struct gt_lion_constants {
    double scale, beta1, beta2, keep, rate;
} gt_lion_constants;

#ifdef GT_KERNELS

// gt_lion_word updates GT_DL numbers and returns zero in their lanes, or no number where one is not finite.
GT_INLINE gt_hf gt_lion_word(float * x, float * m, const float * grad, const gt_lion_constants * k) {
    const gt_vd g = gt_load_d(grad) * k->scale, old = gt_load_d(m);
    const gt_vd c = old * k->beta1 + g * (1 - k->beta1);
    // A comparison gives −1 in its lanes.
    const gt_vd sign = __builtin_convertvector(c < 0, gt_vd) - __builtin_convertvector(c > 0, gt_vd);
    const gt_hf kept = gt_store_d(m, old * k->beta2 + g * (1 - k->beta2));
    const gt_hf y    = gt_store_d(x, gt_load_d(x) * k->keep - sign * k->rate);
    return (y - y) + (kept - kept);
}

// gt_lion_row updates n numbers and returns zero, or no number where one is not finite.
static float gt_lion_row(float * x, float * m, const float * g, int64_t n, const gt_lion_constants * k) {
    gt_hf   bad = {0};
    int64_t i   = 0;
    for (; i + GT_DL <= n; i += GT_DL) bad += gt_lion_word(x + i, m + i, g + i, k);
    if (i < n) {
        const size_t size = (size_t) (n - i) * sizeof(float);
        float        t[3][GT_DL] = {{0}};
        memcpy(t[0], x + i, size), memcpy(t[1], m + i, size), memcpy(t[2], g + i, size);
        bad += gt_lion_word(t[0], t[1], t[2], k);
        memcpy(x + i, t[0], size), memcpy(m + i, t[1], size);
    }
    float spoiled = 0;
    for (int l = 0; l < GT_DL; l++) spoiled += bad[l];
    return spoiled;
}

static void gt_k_lion(const gt_call * c, int ith, int nth) {
    const gt_lion_constants k = *(const gt_lion_constants *) c->a[3].data;
    const int64_t n = c->a[0].ne0, step = gt_master_step(&c->a[0]);
    GT_EACH_ROW(&c->a[0], {
        float wide[GT_MASTER_PIECE], spoiled = 0;
        for (int64_t at = 0; at < n; at += step) {
            const int64_t some = n - at < step ? n - at : step;
            float *       x    = gt_master(&c->a[0], r, at, some, wide);
            spoiled += gt_lion_row(x, gt_arg_row(&c->a[1], r) + at, gt_arg_row(&c->a[2], r) + at, some, &k);
            spoiled += gt_master_store(&c->a[0], &c->a[4], r, at, some, x);
        }
        gt_arg_row(&c->a[5], r)[0] = spoiled;
    });
}

#endif

#ifdef GT_CHECKS

const char * gt_check_lion(const gt_call * c) {
    for (int i = 1; i < 3; i++) {
        if (!gt_is_like(&c->a[i], &c->a[0])) return "lion: an argument is not f32 of the parameters' shape";
    }
    GT_TRY(gt_master_fault(&c->a[0], &c->a[4]));
    if (!gt_is_matrix(&c->a[3], GT_F64, sizeof(gt_lion_constants) / sizeof(double), 1))
        return "lion: the constants are not f64 [5,1]";
    if (!gt_is_f32(&c->a[5], 1, c->a[0].ne1)) return "lion: the verdicts are not f32, one a row";
    for (int i = 0; i < 6; i++) {
        if (!gt_all_apart(c, i)) return "lion: arguments overlap";
    }
    return NULL;
}

#endif

#endif
