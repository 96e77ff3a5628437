// Adafactor's update of one matrix, in F64: Shazeer and Stern 2018, algorithm 4, without momentum, the learning rate
// given. A vector is a matrix of one row, for which the factors are its second moments themselves.
//
// With g = scale·gradient, each mean of g² + eps over a row, R_r, and over a column, C_i, moves by decay; the update is
// u = g/√(R_r/mean(R) · C_i), at most clip in the root mean square, and x = keep·x − rate·u.
//
// GT_OP_ADAFACTOR_ROWS     a0 inout R [1,N]; a1 gradient [K,N]; a2 f64 [6,1], a gt_adafactor_constants.
// GT_OP_ADAFACTOR_COLUMNS  a0 inout C [K,1]; a1 gradient [K,N]; a2 the constants.
// GT_OP_ADAFACTOR_SQUARES  a0 out f64 [1,N]: each row's Σu².  a1 R; a2 C; a3 gradient; a4 the constants.
// GT_OP_ADAFACTOR          a0 inout x [K,N] (master.inc.h); a1 R; a2 C; a3 gradient; a4 f64 [1,N], the rows' Σu²; a5
//                          the constants; a6 x's key or absent; a7 out [1,N]: 0, or no number if one of the row's is
//                          not finite after.
#ifndef GT_ADAFACTOR_INC_H
#define GT_ADAFACTOR_INC_H

#include "kernels.h"

// What changes from step to step, in memory.
typedef struct gt_adafactor_constants {
    double scale, decay, eps, keep, rate, clip;
} gt_adafactor_constants;

#ifdef GT_KERNELS

static void gt_k_adafactor_rows(const gt_call * c, int ith, int nth) {
    const gt_adafactor_constants k = *(const gt_adafactor_constants *) c->a[2].data;
    const int64_t n = c->a[1].ne0;
    GT_EACH_ROW(&c->a[1], {
        const float * g   = gt_arg_row(&c->a[1], r);
        double        sum = 0;
        for (int64_t i = 0; i < n; i++) sum += g[i] * k.scale * (g[i] * k.scale) + k.eps;
        float * f = gt_arg_row(&c->a[0], r);
        f[0]      = (float) (f[0] * k.decay + sum / (double) n * (1 - k.decay));
    });
}

static void gt_k_adafactor_columns(const gt_call * c, int ith, int nth) {
    const gt_adafactor_constants k = *(const gt_adafactor_constants *) c->a[2].data;
    enum { width = 64 }; // columns at once: a few cache lines of each row
    int64_t lo, hi;
    gt_share(c->a[1].ne0, width, ith, nth, &lo, &hi);
    float * f = (float *) c->a[0].data;
    for (int64_t at = lo; at < hi; at += width) {
        const int n = (int) (hi - at < width ? hi - at : width);
        double    sum[width] = {0};
        for (int64_t r = 0; r < c->a[1].ne1; r++) {
            const float * g = gt_arg_row(&c->a[1], r) + at;
            for (int i = 0; i < n; i++) sum[i] += g[i] * k.scale * (g[i] * k.scale) + k.eps;
        }
        for (int i = 0; i < n; i++)
            f[at + i] = (float) (f[at + i] * k.decay + sum[i] / (double) c->a[1].ne1 * (1 - k.decay));
    }
}

// gt_row_mean is the mean of R.
static double gt_row_mean(const gt_arg * rows) {
    double sum = 0;
    for (int64_t r = 0; r < rows->ne1; r++) sum += gt_arg_row(rows, r)[0];
    return sum / (double) rows->ne1;
}

static void gt_k_adafactor_squares(const gt_call * c, int ith, int nth) {
    const gt_adafactor_constants k = *(const gt_adafactor_constants *) c->a[4].data;
    const int64_t n    = c->a[3].ne0;
    const double  mean = gt_row_mean(&c->a[1]);
    const float * f    = (const float *) c->a[2].data;
    GT_EACH_ROW(&c->a[3], {
        const float * g   = gt_arg_row(&c->a[3], r);
        double        sum = 0;
        for (int64_t i = 0; i < n; i++) sum += g[i] * k.scale * (g[i] * k.scale) / f[i];
        sum *= mean / gt_arg_row(&c->a[1], r)[0];
        memcpy(gt_arg_row(&c->a[0], r), &sum, sizeof sum);
    });
}

static void gt_k_adafactor(const gt_call * c, int ith, int nth) {
    const gt_adafactor_constants k = *(const gt_adafactor_constants *) c->a[5].data;
    const int64_t n    = c->a[0].ne0;
    const double  mean = gt_row_mean(&c->a[1]);
    const float * f    = (const float *) c->a[2].data;
    double        all  = 0;
    for (int64_t r = 0; r < c->a[0].ne1; r++) {
        double sum;
        memcpy(&sum, gt_arg_row(&c->a[4], r), sizeof sum);
        all += sum;
    }
    const double rms = sqrt(all / ((double) n * (double) c->a[0].ne1)), over = rms / k.clip;
    const double rate = k.rate * k.scale / (over > 1 || over != over ? over : 1);
    const int64_t step = gt_master_step(&c->a[0]);
    GT_EACH_ROW(&c->a[0], {
        const double row = gt_arg_row(&c->a[1], r)[0] / mean;
        float        wide[GT_MASTER_PIECE], bad = 0;
        for (int64_t at = 0; at < n; at += step) {
            const int64_t some = n - at < step ? n - at : step;
            float *       x    = gt_master(&c->a[0], r, at, some, wide);
            const float * g    = gt_arg_row(&c->a[3], r) + at;
            for (int64_t i = 0; i < some; i++) {
                x[i] = (float) (x[i] * k.keep - g[i] * rate / sqrt(row * f[at + i]));
                bad += x[i] - x[i];
            }
            bad += gt_master_store(&c->a[0], &c->a[6], r, at, some, x);
        }
        gt_arg_row(&c->a[7], r)[0] = bad;
    });
}

#endif

#ifdef GT_CHECKS

static const char * gt_adafactor_fault(const gt_call * c, int rows, int columns, int grad, int constants) {
    const int64_t n = c->a[grad].ne0, m = c->a[grad].ne1;
    if (!gt_is_f32(&c->a[grad], n, m)) return "adafactor: the gradient is not f32";
    if (rows >= 0 && !gt_is_f32(&c->a[rows], 1, m)) return "adafactor: the rows' means are not f32, one a row";
    if (columns >= 0 && !gt_is_f32(&c->a[columns], n, 1)) return "adafactor: the columns' means are not f32, one each";
    if (!gt_is_matrix(&c->a[constants], GT_F64, sizeof(gt_adafactor_constants) / sizeof(double), 1))
        return "adafactor: the constants are not f64 [6,1]";
    for (int i = 0; i < c->n_args; i++) {
        if (!gt_all_apart(c, i)) return "adafactor: arguments overlap";
    }
    return NULL;
}

const char * gt_check_adafactor_rows(const gt_call * c) { return gt_adafactor_fault(c, 0, -1, 1, 2); }

const char * gt_check_adafactor_columns(const gt_call * c) { return gt_adafactor_fault(c, -1, 0, 1, 2); }

const char * gt_check_adafactor_squares(const gt_call * c) {
    if (!gt_is_matrix(&c->a[0], GT_F64, 1, c->a[3].ne1)) return "adafactor: the sums are not f64, one a row";
    return gt_adafactor_fault(c, 1, 2, 3, 4);
}

const char * gt_check_adafactor(const gt_call * c) {
    GT_TRY(gt_master_fault(&c->a[0], &c->a[6]));
    if (!gt_is_like(&c->a[3], &c->a[0])) return "adafactor: the gradient is not f32 of the parameters' shape";
    if (!gt_is_matrix(&c->a[4], GT_F64, 1, c->a[3].ne1)) return "adafactor: the sums are not f64, one a row";
    if (!gt_is_f32(&c->a[7], 1, c->a[3].ne1)) return "adafactor: the verdicts are not f32, one a row";
    return gt_adafactor_fault(c, 1, 2, 3, 5);
}

#endif

#endif
