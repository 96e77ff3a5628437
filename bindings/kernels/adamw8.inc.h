// AdamW whose moments are kept as one byte each, block by block.
//
// GT_OP_ADAMW8      One update of AdamW (optim.inc.h) whose moments are codes: a moment is its code's number in a
//                   table, times the largest absolute value of its block (Dettmers et al. 2022). A row is a block.
//                   After the update each block has a new largest value, and each moment the code of the nearest
//                   number; a first moment below zero and a second one above do not become zero, or the next update
//                   would have no direction, or no bound.
//                   a0 inout x [n,R] (master.inc.h), n at most 256; a1, a2 inout i32 [⌈n/4⌉,R]: the codes of m and v, a
//                   byte each; a3, a4 inout [1,R]: the blocks' largest; a5 gradient; a6 f64 [7,1], a
//                   gt_adamw_constants; a7 tables of m and v, rising [256,2]; a8 x's key or absent; a9 out [1,R]: 0, or
//                   no number if one of the row's is not finite after.
#ifndef GT_ADAMW8_INC_H
#define GT_ADAMW8_INC_H

#include "kernels.h"

enum { GT_CODES = 256, GT_CODE_BLOCK = 256 };

#ifdef GT_KERNELS

// gt_code finds the code of the number of a rising table that is nearest to x, of two as near the lower.
GT_INLINE int gt_code(const float * table, double x) {
    int lo = 0;
    for (int step = GT_CODES / 2; step > 0; step /= 2) lo += table[lo + step] <= x ? step : 0;
    if (lo + 1 < GT_CODES && (double) table[lo + 1] - x < x - (double) table[lo]) lo++;
    return lo;
}

static void gt_k_adamw8(const gt_call * c, int ith, int nth) {
    const gt_adamw_constants k = *(const gt_adamw_constants *) c->a[6].data;
    const int                n = (int) c->a[0].ne0;
    const float *            tm = gt_arg_row(&c->a[7], 0), * tv = gt_arg_row(&c->a[7], 1);
    GT_EACH_ROW(&c->a[0], {
        float         wide[GT_CODE_BLOCK];
        float *       x = gt_master(&c->a[0], r, 0, n, wide);
        float *       am = gt_arg_row(&c->a[3], r), * av = gt_arg_row(&c->a[4], r);
        uint8_t *     cm = (uint8_t *) gt_arg_row(&c->a[1], r), * cv = (uint8_t *) gt_arg_row(&c->a[2], r);
        const float * grad = gt_arg_row(&c->a[5], r);
        double        m[GT_CODE_BLOCK], v[GT_CODE_BLOCK], most_m = 0, most_v = 0;
        float         bad = 0;
        for (int i = 0; i < n; i++) {
            const double g = grad[i] * k.scale;
            m[i] = (double) tm[cm[i]] * am[0] * k.beta1 + g * (1 - k.beta1);
            v[i] = (double) tv[cv[i]] * av[0] * k.beta2 + g * g * (1 - k.beta2);
            most_m = fabs(m[i]) > most_m ? fabs(m[i]) : most_m;
            most_v = v[i] > most_v ? v[i] : most_v;
            x[i]   = (float) (x[i] * k.keep - m[i] * k.rate / (sqrt(v[i]) / k.correct2 + k.eps));
            bad += x[i] - x[i];
        }
        am[0] = (float) most_m;
        av[0] = (float) most_v;
        for (int i = 0; i < n; i++) {
            int one = gt_code(tm, am[0] > 0 ? m[i] / am[0] : 0), two = gt_code(tv, av[0] > 0 ? v[i] / av[0] : 0);
            if (tm[one] == 0 && m[i] < 0) one--;
            if (tv[two] == 0 && v[i] > 0) two++;
            cm[i] = (uint8_t) one;
            cv[i] = (uint8_t) two;
        }
        bad += gt_master_store(&c->a[0], &c->a[8], r, 0, n, x);
        gt_arg_row(&c->a[9], r)[0] = bad;
    });
}

#endif

#ifdef GT_CHECKS

const char * gt_check_adamw8(const gt_call * c) {
    const int64_t n = c->a[0].ne0, rows = c->a[0].ne1;
    GT_TRY(gt_master_fault(&c->a[0], &c->a[8]));
    if (n > GT_CODE_BLOCK) return "adamw8: the parameters' rows are more than a block";
    if (!gt_is_like(&c->a[5], &c->a[0])) return "adamw8: the gradient is not f32 of the parameters' shape";
    for (int i = 1; i < 3; i++) {
        if (!gt_is_matrix(&c->a[i], GT_I32, (n + 3) / 4, rows)) return "adamw8: the codes are not i32, four a number";
        if (!gt_is_f32(&c->a[i + 2], 1, rows)) return "adamw8: the largest values are not f32, one a row";
    }
    if (!gt_is_matrix(&c->a[6], GT_F64, sizeof(gt_adamw_constants) / sizeof(double), 1))
        return "adamw8: the constants are not f64 [7,1]";
    if (!gt_is_f32(&c->a[7], GT_CODES, 2)) return "adamw8: the tables are not f32 [256,2]";
    if (!gt_is_f32(&c->a[9], 1, rows)) return "adamw8: the verdicts are not f32, one a row";
    for (int i = 0; i < 10; i++) {
        if (!gt_all_apart(c, i)) return "adamw8: arguments overlap";
    }
    return NULL;
}

#endif

#endif
